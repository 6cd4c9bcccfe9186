from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from recipes.demo_weights import offsets
from recipes.demo_weights.offsets import OFFSETS, Best, phantom_counts, score, shift_logits
from umlite import Segmenter
from umlite.errors import WeightsError
from umlite.models.config import HeadConfig, NetworkConfig, UNetConfig
from umlite.models.universal import UniversalModel
from umlite.phantom import draw_spec, render_phantom


def test_only_the_logits_that_were_asked_for_are_shifted(model: UniversalModel) -> None:
    x = torch.rand(1, 1, 24, 24, 24)
    with torch.no_grad():
        before = model(x)
        shift_logits(model, {4: 1.25, 1: -0.5})
        shifts = (model(x) - before)[0].flatten(1)
    wanted = torch.tensor([0, -0.5, 0, 0, 1.25])
    assert torch.allclose(shifts, wanted[:, None].expand_as(shifts), atol=1e-4)


def test_no_offsets_change_no_bit(model: UniversalModel) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    shift_logits(model, {2: 0.0})
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_classes_of_the_same_text_cannot_be_shifted_apart(model: UniversalModel) -> None:
    with torch.no_grad():
        model.generator.embedding[3] = model.generator.embedding[2]
    with pytest.raises(WeightsError, match="are the same"):
        shift_logits(model, {3: 1.0})


def test_controllers_of_each_class_are_refused() -> None:
    head = HeadConfig(3, "per_class", 12, task_width=0, hidden_width=8, gap_width=8, groups=8)
    with pytest.raises(WeightsError, match="shared parameter generator"):
        shift_logits(UniversalModel(NetworkConfig(UNetConfig((8, 8, 8, 16)), head)), {0: 1.0})


@pytest.fixture(scope="module")
def demo() -> Segmenter:
    return Segmenter("demo")


def test_counts_at_offset_0_are_those_of_the_segmenter(demo: Segmenter) -> None:
    phantom = render_phantom(replace(draw_spec(4), z_range_mm=(-40.0, 40.0)), demo.card.spacing_mm)
    counts = phantom_counts(demo, phantom)
    masks = demo.segment(nib.Nifti1Image(phantom.hu, phantom.affine))
    middle = OFFSETS.index(0.0)
    assert set(counts) == set(phantom.masks) & set(demo.classes.names)
    for name, numbers in counts.items():
        found, true = masks.mask(name), phantom.masks[name]
        assert numbers[middle].tolist() == [(found & true).sum(), found.sum(), true.sum()], name
    assert (np.diff(counts["liver"][:, 1]) >= 0).all()


def test_the_best_offset_is_that_of_the_best_score(demo: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    def counts(*_: object) -> dict[str, np.ndarray]:
        table = np.zeros((len(OFFSETS), 3), np.int64)
        table[:] = [5, 20, 10]
        table[OFFSETS.index(0.75)] = [9, 11, 10]
        return {"liver": table, "spleen": np.tile(np.int64([8, 10, 10]), (len(OFFSETS), 1))}

    monkeypatch.setattr(offsets, "phantom_counts", counts)
    monkeypatch.setattr(offsets, "render_phantom", lambda *_: None)
    found = offsets.best_offsets(demo.weights_path, 3)
    assert list(found) == ["spleen", "liver"]
    assert found["liver"] == Best(0.75, pytest.approx(1 / 3), pytest.approx(18 / 21))
    assert found["spleen"].offset == 0


def test_the_score_counts_small_lesions_and_what_is_found_where_none_is() -> None:
    small, large, none = [1, 1, 3], [90, 100, 100], [0, 49, 0]
    counts = np.int64([small, large, none])[:, None]
    assert score(counts).tolist() == pytest.approx([((0.5 + 0.9) / 2 + 2 * 91 / (150 + 103)) / 2])
    assert score(counts[2:]).tolist() == [0]

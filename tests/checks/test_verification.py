"""Agreement is measured, and disagreement found."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support.samples import small_card, small_model
from umlite import Segmenter
from umlite.checks.compared_windows import spread_evenly
from umlite.checks.verification import ClassAgreement, verify
from umlite.errors import RequestError
from umlite.weights.loading import save_model


@pytest.mark.parametrize("windows", [None, 3])
def test_the_fast_engine_agrees(scan_file: Path, small_weights: Path, windows: int | None) -> None:
    reference = Segmenter(small_weights, device="cpu", engine="reference")
    outcome = verify(reference, Segmenter(small_weights, device="cpu"), scan_file, "liver,spleen", windows=windows)
    assert outcome.passed
    assert [c.name for c in outcome.classes] == ["liver", "spleen"]
    assert outcome.compared == (windows or outcome.windows)
    assert all(c.dice > 0.999 and c.reference_voxels for c in outcome.classes)


def test_other_weights_do_not_agree(scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    model = small_model(seed=1)
    save_model(tmp_path / "other.safetensors", model.state_dict(), small_card(model))
    other = Segmenter(tmp_path / "other.safetensors", device="cpu")
    outcome = verify(Segmenter(small_weights, device="cpu", engine="reference"), other, scan_file, "liver", windows=2)
    assert not outcome.passed
    assert outcome.classes[0].flipped
    assert outcome.classes[0].largest_margin > 0


def test_numbers_of_one_class() -> None:
    agreement = ClassAgreement("liver")
    agreement.add(torch.tensor([2.0, -1.0]), torch.tensor([2.0, 0.5]))
    agreement.add(torch.tensor([0.25, -3.0]), torch.tensor([-0.25, -3.0]))
    assert (agreement.reference_voxels, agreement.voxels, agreement.flipped) == (2, 2, 2)
    assert agreement.dice == pytest.approx(0.5)
    assert agreement.largest_margin == 1.0
    assert agreement.largest_difference == 1.5
    assert agreement.deviation == pytest.approx(torch.tensor([2.0, -1, 0.25, -3]).std(correction=0).item())


def test_two_sides_that_find_nothing_agree() -> None:
    agreement = ClassAgreement("liver")
    agreement.add(torch.tensor([-2.0, -1.0]), torch.tensor([-2.0, -0.5]))
    assert agreement.dice == 1
    assert agreement.to_dict()["dice"] == 1


def test_not_a_number_is_never_within() -> None:
    agreement = ClassAgreement("liver")
    agreement.add(torch.tensor([1.0, -1.0]), torch.tensor([float("nan"), -1.0]))
    agreement.add(torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0]))
    assert not agreement.relative_difference <= 1e9
    assert agreement.to_dict()["relative_difference"] is None


def test_spread() -> None:
    starts = [(k, 0, 0) for k in range(10)]
    assert spread_evenly(starts, 2) == [(2, 0, 0), (7, 0, 0)]
    assert spread_evenly(starts, 99) == starts


def test_bad_requests(scan_file: Path, small_weights: Path) -> None:
    one = Segmenter(small_weights, device="cpu", engine="reference")
    with pytest.raises(RequestError, match="at least 1 window"):
        verify(one, one, scan_file, windows=0)
    with pytest.raises(RequestError, match="tolerance"):
        verify(one, one, scan_file, tolerance=float("nan"))

"""Sound weights pass the smoke test; damaged ones, of every kind that loads, are told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.damage import damaged, kinds
from support.samples import small_card, small_model
from umlite.checks import smoke_test as module
from umlite.checks.patient import LARGE_ORGANS, Views, draw_views, reason_against
from umlite.checks.smoke_test import answers, judge, smoke_test
from umlite.engines.options import EngineOptions
from umlite.errors import DeviceError
from umlite.kernels.implementations import REFERENCE
from umlite.models.universal import UniversalModel
from umlite.weights.loading import load_model, save_model
from umlite.weights.model_card import ModelCard
from umlite.weights.store import BUNDLED

WORKS_STILL = ("noise of 30 %", "image vector untrained", "controller half as strong")
QUICK = ("everything untrained", "text missing", "classes shuffled", "sides swapped", "one level untrained")
CPU = EngineOptions(device="cpu")


@pytest.fixture(scope="module")
def bundled() -> tuple[UniversalModel, ModelCard]:
    return load_model(BUNDLED["demo"], REFERENCE)


@pytest.fixture(scope="module")
def views(bundled: tuple[UniversalModel, ModelCard]) -> Views:
    return draw_views(bundled[1])


def test_the_bundled_weights_pass() -> None:
    tried = smoke_test("demo", CPU)
    assert not tried.findings
    assert not tried.skipped
    assert tried.found == LARGE_ORGANS
    assert min(tried.dice.values()) > 0.8


def codes(bundled: tuple[UniversalModel, ModelCard], views: Views, kind: str, folder: Path) -> set[str]:
    model, card = bundled
    path = folder / "net.safetensors"
    save_model(path, damaged(model, kinds(card.classes)[kind], seed=0), card)
    return {finding.code for finding in judge(answers(path, views, CPU), card.classes, views)[1]}


@pytest.mark.parametrize("kind", QUICK)
def test_damage_is_told(bundled: tuple[UniversalModel, ModelCard], views: Views, kind: str, tmp_path: Path) -> None:
    found = codes(bundled, views, kind, tmp_path)
    assert found
    expected = {"text missing": "alike", "sides swapped": "order", "everything untrained": "overlap"}
    assert expected.get(kind, "found") in found


@pytest.mark.slow
@pytest.mark.parametrize("kind", kinds(LARGE_ORGANS))
def test_every_kind_of_damage(
    bundled: tuple[UniversalModel, ModelCard], views: Views, kind: str, tmp_path: Path
) -> None:
    assert bool(codes(bundled, views, kind, tmp_path)) == (kind not in WORKS_STILL)


SIDE = 24
CLASSES = ("liver", "spleen", "right_kidney", "tumor", "vessel")


def drawn() -> tuple[np.ndarray, Views]:
    """Three cubes in a body, and logits that find them."""
    organs = {}
    for number, name in enumerate(CLASSES[:3]):
        mask = np.zeros((1, SIDE, SIDE, SIDE), bool)
        mask[:, 8 * number : 8 * number + 7, 4:20, 4:20] = True
        organs[name] = mask
    noise = np.random.default_rng(0).normal(size=(1, len(CLASSES), SIDE, SIDE, SIDE)).clip(-2, 2).astype(np.float32)
    logits = noise - 3
    for place, name in enumerate(organs):
        logits[:, place][organs[name]] += 6
    return logits, Views(np.ones((1, 1, SIDE, SIDE, SIDE), np.float32), organs, voxel_ml=0.1)


def judged(logits: np.ndarray, views: Views) -> set[str]:
    return {finding.code for finding in judge(logits.astype(np.float32), CLASSES, views)[1]}


def test_each_finding_by_itself() -> None:
    logits, views = drawn()
    dice, findings = judge(logits, CLASSES, views)
    assert not findings
    assert dice == {"liver": 1, "spleen": 1, "right_kidney": 1}
    assert judged(np.where(logits > 0, logits, np.nan), views) == {"finite"}
    assert judged(logits[:, [1, 0, 2, 3, 4]], views) == {"found", "order"}
    assert judged(logits[:, [3, 0, 2, 1, 4]], views) == {"found", "order"}
    assert judged(np.concatenate((logits[:, :1], np.abs(logits[:, 1:])), axis=1), views) >= {"overlap"}
    assert "alike" in judged(np.repeat(logits[:, :1], len(CLASSES), axis=1), views)
    assert "alike" in judged(np.zeros_like(logits), views)
    checkered = np.indices(logits.shape[2:]).sum(axis=0) % 4 == 0
    assert judged(np.where(checkered, logits, -1 - np.abs(logits)), views) == {"speckle"}


def test_one_organ_under_another_mask_is_no_other_order() -> None:
    """A network that cannot tell the sides of one organ is weak, not in disorder."""
    logits, views = drawn()
    logits[:, 0] = np.maximum(logits[:, 0], logits[:, 1])
    logits[:, 1] = -5
    assert judged(logits, views) == set()


def test_sentences_name_what_was_seen() -> None:
    logits, views = drawn()
    sentences = " ".join(finding.sentence for finding in judge(logits[:, [1, 0, 3, 2, 4]], CLASSES, views)[1])
    assert "0 of 3 large organs" in sentences
    assert "not liver, spleen, right_kidney" in sentences
    assert "that of spleen lies on liver; that of liver lies on spleen; that of tumor lies on right_kidney" in sentences


def test_what_the_patient_cannot_show_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(classes=32)
    card = small_card(model)
    assert not reason_against(card)
    assert "large organs" in reason_against(replace(card, classes=tuple(f"own_{i}" for i in range(32))))
    assert "voxels" in reason_against(replace(card, spacing_mm=(0.5, 0.5, 0.5)))
    assert "windows" in reason_against(replace(card, window=(256, 256, 256)))
    path = tmp_path / "net.safetensors"
    save_model(path, model.state_dict(), replace(card, spacing_mm=(9.0, 9.0, 9.0)))
    tried = smoke_test(path, CPU)
    assert "6 mm" in tried.skipped
    assert not tried.findings

    def refuse(*_: object, **__: object) -> None:
        raise DeviceError("no memory here")

    monkeypatch.setattr(module, "answers", refuse)
    assert smoke_test("demo", CPU).skipped == "no memory here"


def test_windows_larger_than_the_patient_are_filled_with_air() -> None:
    card = replace(small_card(small_model(classes=32)), spacing_mm=(6.0, 6.0, 6.0), window=(96, 64, 96))
    views = draw_views(card)
    assert views.x.shape == (2, 1, 96, 64, 96)
    assert (views.x[:, :, -1] == 0).all()
    assert set(views.organs) == set(LARGE_ORGANS)

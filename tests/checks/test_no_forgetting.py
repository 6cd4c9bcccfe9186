"""Packs leave all other classes as they are; the check says so, and says which class differs where one does."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from support.command_line import run, umlite
from support.packs import saved_pack
from support.samples import small_card, small_model
from umlite import Segmenter
from umlite.checks.no_forgetting import check_unchanged
from umlite.errors import RequestError
from umlite.weights.loading import save_model


@pytest.fixture
def pack(small_weights: Path, tmp_path: Path) -> Path:
    return saved_pack(tmp_path, small_weights, ["heart"])


def loader(weights: Path) -> Callable[[Sequence[Path]], Segmenter]:
    return lambda packs: Segmenter(weights, packs=packs, device="cpu")


def test_on_a_scan_and_on_a_phantom(small_weights: Path, pack: Path, scan_file: Path) -> None:
    done = []
    found = check_unchanged(loader(small_weights), [pack], scan_file, progress=lambda n, of: done.append((n, of)))
    assert found.passed
    assert found.classes == 32
    assert 2 * found.windows == done[-1][0] == done[-1][1] > 8  # of both networks
    assert found.logits == found.windows * 32 * 16**3
    assert check_unchanged(loader(small_weights), [pack], scan_file, windows=2).windows == 2
    phantom = check_unchanged(loader(small_weights), [pack])
    assert (phantom.passed, phantom.windows) == (True, 1)


def test_a_replaced_class_is_compared_under_its_other_name(small_weights: Path, tmp_path: Path) -> None:
    pack = saved_pack(tmp_path, small_weights, ["liver"], replaces=("liver",))
    asked = ("verify", "--unchanged", "--weights", small_weights, "--with", pack, "--device", "cpu")
    assert "of 32 existing classes in 1 windows are the same to the bit" in umlite(*asked)


def test_a_difference_is_found_and_named(small_weights: Path, pack: Path, scan_file: Path, monkeypatch) -> None:
    whole = Segmenter.window_logits

    def wrong(self: Segmenter, x: torch.Tensor, names: list[str]) -> torch.Tensor:
        logits = whole(self, x, names).clone()
        if self.packs:
            logits[0, 5, 0, 0, 0] += 1e-3
        return logits

    monkeypatch.setattr(Segmenter, "window_logits", wrong)
    asked = (
        "verify",
        scan_file,
        "--unchanged",
        "--weights",
        small_weights,
        "--with",
        pack,
        "--device",
        "cpu",
        "--json",
    )
    told = json.loads(run(*asked, "--sample", 1, code=1).stdout)
    assert (told["passed"], told["different"]) == (False, ["liver"])


def test_what_cannot_be_checked(small_weights: Path, pack: Path) -> None:
    with pytest.raises(RequestError, match="packs whose effect"):
        check_unchanged(loader(small_weights), [])
    with pytest.raises(RequestError, match="at least 1 window"):
        check_unchanged(loader(small_weights), [pack], windows=0)
    assert "--with" in umlite("verify", "--unchanged", "--weights", small_weights, code=2)
    assert "Expected a scan" in umlite("verify", "--weights", small_weights, code=2)


@pytest.mark.parametrize("backbone", ["unet", "swin_unetr"])
@pytest.mark.parametrize("options", [{"kernels": "native"}, {"engine": "reference"}])
def test_one_network_at_a_time_is_in_memory(tmp_path: Path, backbone: str, options: dict[str, str]) -> None:
    """Its memory goes with its last use, and waits for no collection of garbage."""
    model = small_model(backbone, classes=3)
    save_model(tmp_path / "base.safetensors", model.state_dict(), small_card(model))
    pack = saved_pack(tmp_path, tmp_path / "base.safetensors", ["heart"])
    parts: list[weakref.ref] = []

    def load(packs: Sequence[Path]) -> Segmenter:
        assert all(part() is None for part in parts)
        segmenter = Segmenter(tmp_path / "base.safetensors", packs=packs, device="cpu", **options)
        made = getattr(segmenter.engine, "_made", None) or (None,)
        parts.extend(map(weakref.ref, (segmenter.engine, *made[1:])))  # of the native engine: network and heads
        return segmenter

    gc.disable()
    try:
        assert check_unchanged(load, [pack]).passed
    finally:
        gc.enable()
    assert len(parts) == (6 if options.get("kernels") else 2)

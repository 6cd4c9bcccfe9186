"""The roofline on paper counts what the published networks are known to do, and what our kernels were compiled to."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from umlite.models.config import SwinUNETRConfig, UNetConfig


@pytest.fixture
def roofline(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which lies beside the package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return importlib.import_module("bench.roofline")


@pytest.mark.parametrize(("backbone", "gflop"), [(UNetConfig(), 1657), (SwinUNETRConfig(), 644)])
def test_operations_of_a_window(roofline: ModuleType, backbone: UNetConfig | SwinUNETRConfig, gflop: float) -> None:
    stages = roofline.count(backbone, ours=False).stages().values()
    assert sum(c.matrix_flop + c.float_flop for c in stages) / 1e9 == pytest.approx(gflop, rel=0.01)


def test_no_stage_is_faster_than_its_bytes(roofline: ModuleType) -> None:
    ledger = roofline.count(UNetConfig(), ours=True)
    for gpu in roofline.GPUS:
        seconds = ledger.seconds(gpu, half=True)
        for stage, cost in ledger.stages().items():
            assert sum(seconds[stage].values()) >= cost.bytes / (gpu.memory_gb_s * 1e9) * (1 - 1e-9)


def test_instructions_of_our_kernels_count(roofline: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the instructions an element, twice the time of a stage that they limit; others keep theirs."""
    counts = importlib.import_module("bench.kernel_counts")
    ledger = roofline.count(SwinUNETRConfig(), ours=True)
    gpu = roofline.GPUS[0]
    once = ledger.seconds(gpu, half=True)
    assert once["attention"]["instructions"] > 0
    per_element = counts.per_element
    monkeypatch.setattr(counts, "per_element", lambda kernel, target: 2 * per_element(kernel, target))
    twice = ledger.seconds(gpu, half=True)
    assert twice["attention"]["instructions"] == pytest.approx(2 * once["attention"]["instructions"], rel=0.2)
    assert twice["convolutions"] == once["convolutions"]


def test_the_attention_counts_padding_of_windows_and_blocks(roofline: ModuleType) -> None:  # noqa: ARG001
    counts = importlib.import_module("bench.kernel_counts")
    one = counts.attention((7, 7, 7), 1, 7, 0, "sm_90")
    assert one == 384 * 352 * counts.per_element("window_attention/float16", "sm_90")
    assert counts.attention((48, 48, 48), 3, 7, 0, "sm_90") == pytest.approx(343 * 3 * one)


def test_every_stage_has_its_operations_bytes_and_instructions(roofline: ModuleType) -> None:
    """On every GPU; instructions where kernels are ours, and nowhere else."""
    ours = {"attention", "norms and activations", "gather, decision", "heads, blending"}
    rows = roofline.report()
    for row in rows:
        stages = set(row["stages_ms"])
        assert stages == set(row["stages_gflop"]) == set(row["stages_gbytes"]) == set(row["stages_ginstructions"])
        assert sum(row["stages_gflop"].values()) == pytest.approx(row["gflop"])
        counted = {stage for stage, count in row["stages_ginstructions"].items() if count > 0}
        assert counted == (stages & ours if row["way"] == "umlite" else set())
    text = roofline.counts_table(rows)
    assert text.count("| unet | umlite | heads, blending |") == 1


def test_the_table_says_that_it_is_computed(roofline: ModuleType) -> None:
    text = roofline.table(roofline.report())
    assert text.startswith("Computed from shapes, data sheets and compiled code, not measured")
    assert all(gpu.name in text for gpu in roofline.GPUS)

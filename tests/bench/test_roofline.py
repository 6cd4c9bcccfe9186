"""The roofline on paper counts what the published networks are known to do."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from umlite.models.config import SwinUNETRConfig, UNetConfig

_SPEC = importlib.util.spec_from_file_location("roofline", Path(__file__).parents[2] / "bench" / "roofline.py")
assert _SPEC
assert _SPEC.loader
roofline = sys.modules["roofline"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(roofline)


@pytest.mark.parametrize(("backbone", "gflop"), [(UNetConfig(), 1657), (SwinUNETRConfig(), 644)])
def test_operations_of_a_window(backbone: UNetConfig | SwinUNETRConfig, gflop: float) -> None:
    stages = roofline.count(backbone, ours=False).stages().values()
    assert sum(c.matrix_flop + c.float_flop for c in stages) / 1e9 == pytest.approx(gflop, rel=0.01)


def test_no_stage_is_faster_than_its_bytes() -> None:
    ledger = roofline.count(UNetConfig(), ours=True)
    for gpu in roofline.GPUS:
        seconds = ledger.seconds(gpu, half=True)
        for stage, cost in ledger.stages().items():
            assert seconds[stage] >= cost.bytes / (gpu.memory_gb_s * 1e9) * (1 - 1e-9)


def test_the_table_says_that_it_is_computed() -> None:
    text = roofline.table(roofline.report())
    assert text.startswith("Computed from shapes and data sheets, not measured")
    assert all(gpu.name in text for gpu in roofline.GPUS)

"""The comparison of adaptive with all windows: windows are computed once, lost lesions are counted, runs go on."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from umlite.masks.bitmask import BitMask

_SPEC = importlib.util.spec_from_file_location("adaptive", Path(__file__).parents[2] / "bench" / "adaptive.py")
assert _SPEC
assert _SPEC.loader
adaptive = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(adaptive)


def test_lost_lesions() -> None:
    expected, found = np.zeros((20, 10, 10), bool), np.zeros((20, 10, 10), bool)
    expected[:4, :4, :4] = expected[8:12, :4, :4] = expected[16:18, :2, :2] = True
    found[3, 3, 3] = True  # one voxel of the first; the third is small
    masks = [BitMask.from_masks({"liver_tumor": mask}) for mask in (found, expected)]
    assert adaptive.lost_lesions(*masks, "liver_tumor", voxel_ml=0.027) == 1
    assert adaptive.lost_lesions(masks[1], masks[1], "liver_tumor", voxel_ml=0.027) == 0


def test_from_end_to_end(
    scan_file: Path, small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    results = tmp_path / "rows.json"
    arguments = [scan_file, "--phantoms", "--weights", small_weights, "--margins", "0", "99", "--results", results]
    monkeypatch.setattr(sys, "argv", ["adaptive", *map(str, arguments)])
    monkeypatch.setattr(adaptive, "REQUESTS", ("pancreas_tumor", "bladder"))
    adaptive.main()
    data = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["request"], row["margin"]) for row in data["rows"]] == [
        (request, margin) for request in ("pancreas_tumor", "bladder") for margin in (0, 99)
    ]
    for row in data["rows"]:
        if row["margin"] == 99:  # everything is active
            assert row["run"] >= row["total"] > 1
            assert all(score > 0.999 for score in row["dice"].values())
            assert row["lost"] == 0
    monkeypatch.setattr(adaptive, "compare", lambda *_: pytest.fail("it is known"))
    adaptive.main()
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == data

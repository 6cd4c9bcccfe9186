"""A scan that is refused memory while it is alone is computed in parts of its classes, with the same masks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from support.samples import make_scan, small_card, small_model
from umlite import Segmenter
from umlite.batch.jobs import lay_out_jobs
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.outcome import Outcome
from umlite.batch.run import run_jobs
from umlite.machine.memory import refused
from umlite.products.wanted import Wanted
from umlite.request import Request
from umlite.weights.loading import save_model

ROOT = Path(__file__).parents[2]
PROGRAM = """
import gc, json, resource, sys
from pathlib import Path
from umlite import Segmenter
from umlite.batch.jobs import lay_out_jobs
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.run import run_jobs
from umlite.products.wanted import Wanted
from umlite.request import Request

def size() -> int:
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("VmSize"))

model = Model.of(Segmenter(sys.argv[1], device="cpu", threads=1))
orders = Orders(Request(overlap=0.0), Wanted(checks=False))
for name in ("free", *sys.argv[3:]):
    gc.collect()
    if name != "free":
        resource.setrlimit(resource.RLIMIT_AS, (size() + (int(name) << 20), resource.RLIM_INFINITY))
    (outcome,) = run_jobs(model, lay_out_jobs([Path(sys.argv[2])], Path(name)), orders)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(json.dumps([name, str(outcome.error or ""), list(outcome.result.notes) if outcome.result else []]))
    del outcome
"""


@pytest.fixture(scope="module")
def segmenter(small_weights: Path) -> Segmenter:
    return Segmenter(small_weights, device="cpu")


def run(segmenter: Segmenter, scan: Path, folder: Path, classes: str = "liver,spleen,aorta,stomach") -> Outcome:
    orders = Orders(Request.of(classes, overlap=0.0), Wanted(checks=False))
    (outcome,) = run_jobs(Model.of(segmenter), lay_out_jobs([scan], folder), orders)
    return outcome


@pytest.mark.parametrize(("classes", "tried"), [("liver,spleen,aorta,stomach", [1, 2, 4]), ("liver,spleen", [1, 2])])
def test_smaller_and_smaller_parts(segmenter, scan_file, tmp_path, monkeypatch, classes: str, tried: list[int]) -> None:
    """Nothing of what was refused is in memory during the next attempt; in the end the refusal is the outcome."""
    found, held = [], list[weakref.ref[Any]]()

    def short(*_given: Any, parts: int, **_options: Any) -> None:
        assert not any(ref() is not None for ref in held)
        sums = np.zeros(9)
        held.append(weakref.ref(sums))
        found.append(parts)
        raise refused(sums.nbytes, "a test")

    monkeypatch.setattr(segmenter, "decide", short)
    assert "refused 0 MB of memory for a test" in str(run(segmenter, scan_file, tmp_path / "out", classes).error)
    assert found == tried


def test_what_cannot_be_parted_is_not_tried_again(segmenter, scan_file, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("umlite.api.decide_adaptively", lambda *_: (_ for _ in ()).throw(refused(1, "a test")))
    orders = Orders(Request(windows="adaptive"), Wanted(checks=False))
    (outcome,) = run_jobs(Model.of(segmenter), lay_out_jobs([scan_file], tmp_path / "out"), orders)
    assert "for a test" in str(outcome.error)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a system that tells the size of a process")
def test_under_a_limit_of_the_address_space(tmp_path: Path) -> None:
    """120 MB of sums for all classes: they fit at once, in halves, in quarters, or not at all."""
    model = small_model()
    save_model(tmp_path / "weights.safetensors", model.state_dict(), small_card(model, window=(48, 48, 48)))
    hu = np.full((144, 144, 144), -1000, np.int16)  # air, whose windows are computed once, and something in two corners
    hu[:24, :24, :24] = hu[-24:, -24:, -24:] = make_scan((24, 24, 24)).get_fdata()
    nib.save(nib.Nifti1Image(hu, np.diag([4.0, 4.0, 4.0, 1.0])), tmp_path / "large.nii")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "weights.safetensors", "large.nii", "240", "150", "110", "50"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_MMAP_THRESHOLD_": str(1 << 18), "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    parts = [[note for note in notes if "parts" in note] for _, _, notes in told]
    sentence = "Memory was short: the classes were computed in {} parts."
    assert parts == [[], [], [sentence.format(2)], [sentence.format(4)], []], done.stdout + done.stderr[-2000:]
    assert [bool(error) for _, error, _ in told] == [False, False, False, False, True]
    assert "Ask for fewer classes" in told[-1][1]
    masks = [{p.name: p.read_bytes() for p in (tmp_path / name).glob("*.nii.gz")} for name, _, _ in told[:-1]]
    assert len(masks[0]) == 32
    assert masks == masks[:1] * 4
    assert not (tmp_path / told[-1][0]).exists()

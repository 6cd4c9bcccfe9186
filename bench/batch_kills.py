"""Batches killed at random moments: `python -m bench.batch_kills --kills 60 --workers 0`.

Every run into one folder is killed soon after it began to work, until so many were; the last one is left alone. Its
tree must be that of a run which nobody disturbed, but for the times in manifests.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

_TIMES = ("timings_s", "cost", "mtime_ns", "versions", "engine")


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--scans", type=int, default=80)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--most-seconds", type=float, default=1.5, help="from the first sign of work to the kill")
    options = parser.parse_args()
    random.seed(options.kills)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_scans(folder / "scans", options.scans)
        base = ["segment", str(folder / "scans"), "-c", "liver,spleen", "--overlap", "0", "--weights", options.weights]
        base += ["--device", "cpu", "--no-checks"]
        calm = subprocess.run(
            [*umlite(), *base, "-o", str(folder / "calm")], capture_output=True, text=True, check=True
        )
        base += ["-o", str(folder / "out"), *(["--workers", str(options.workers)] if options.workers else [])]
        starts: Counter[str] = Counter()
        torn = hidden = runs = kills = 0
        while kills < options.kills:
            killed, text = run_and_kill(base, options.most_seconds)
            runs += 1
            starts.update(re.findall(r"(\S+\.nii): started", text))
            torn += sum(not whole(path) for path in (folder / "out").rglob("*.nii.gz"))
            hidden += len(list((folder / "out").rglob(".umlite-*")))
            kills += killed
            if not killed and kills < options.kills:
                forget(folder / "out", options.scans // 2)
        last = subprocess.run([*umlite(), *base], capture_output=True, text=True, check=True)
        starts.update(re.findall(r"(\S+\.nii): started", last.stderr))
        same = tree(folder / "calm") == tree(folder / "out")
        print(json.dumps({"kills": kills, "runs": runs + 1, "tree_is_the_same": same, "torn_files": torn,
                          "hidden_after_kills": hidden, "hidden_at_the_end": len(list(folder.rglob(".umlite-*"))),
                          "starts_of_windows": sum(starts.values()), "calm": calm.stdout.splitlines()[-1],
                          "last": last.stdout.splitlines()[-1]}))  # fmt: skip
        sys.exit(0 if same and not torn else 1)


def umlite() -> list[str]:
    return [sys.executable, "-m", "umlite"]


def run_and_kill(arguments: list[str], most_seconds: float) -> tuple[bool, str]:
    """Kill a run a random time after it began to work. Gives whether it lived so long, and its stderr."""
    with tempfile.TemporaryFile("w+") as log, tempfile.NamedTemporaryFile("r") as lines:
        process = subprocess.Popen(
            [*umlite(), *arguments, "--jsonl", lines.name], stdout=log, stderr=log, start_new_session=True
        )
        while process.poll() is None and not re.search(
            'started|"status": "done"', seen(log) + Path(lines.name).read_text()
        ):
            time.sleep(0.02)
        time.sleep(random.uniform(0, most_seconds))
        killed = process.poll() is None
        if killed:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return killed, seen(log)


def seen(log: Any) -> str:
    return os.pread(log.fileno(), 1 << 24, 0).decode()


def forget(folder: Path, count: int) -> None:
    """Take results away, so that the next run has work."""
    for path in random.sample(sorted(folder.rglob("liver.nii.gz")), count):
        path.unlink()


def make_scans(folder: Path, count: int) -> None:
    """Small scans of noise around soft tissue."""
    folder.mkdir()
    for seed in range(count):
        rng = np.random.default_rng(seed)
        voxels = rng.normal(40, 60, (28, 26, 24)).astype(np.int16)
        nib.save(nib.Nifti1Image(voxels, np.diag([5.0, 5.0, 5.0, 1.0])), folder / f"scan{seed:03d}.nii")


def whole(path: Path) -> bool:
    try:
        np.asarray(nib.load(path).dataobj)
    except Exception:
        return False
    return True


def tree(folder: Path) -> dict[str, Any]:
    """Files with their content; manifests without times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and path.suffix == ".json":
            found[name] = timeless(json.loads(path.read_text()))
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def timeless(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: timeless(value) for name, value in data.items() if name not in _TIMES}
    return [timeless(value) for value in data] if isinstance(data, list) else data


if __name__ == "__main__":
    main()

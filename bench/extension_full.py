"""What `umlite extend` costs with full-size weights from a seed: seconds a step, memory, disk; nothing else changes.

    python -m bench.extension_full --shared PATH                        # both networks, two crops of a real scan
    python -m bench.extension_full --backbone unet --quick              # a narrow network, crops of a phantom

The features are those of random numbers, so Dice means nothing; time, memory and disk do not depend on them. The
command runs in a process of its own, whose peak memory is read while it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from bench.extension_scans import example_part, write_case
from bench.long_scan import POLL_S, peak_kb
from bench.recipe import recipe_weights
from bench.report import begin, finish
from umlite.extension.extend import TRIAL_STEPS
from umlite.phantom import make_phantom

STRUCTURE, NAME = "autochthon_left", "left_muscles_of_the_back"
"""A structure of the real scan that no network here has as a class."""
SIDE, SLICES = 64, 30
"""Voxels of a crop: 192 x 192 x 90 mm, four windows."""


def main() -> None:
    options = arguments()
    report = begin("extension_full", {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()})
    report["rows"] = []
    with tempfile.TemporaryDirectory(prefix="umlite-extension-") as made:
        folder = Path(made)
        write_crops(folder / "cases", options.shared)
        for backbone in options.backbone.split(","):
            weights = recipe_weights(backbone, quick=options.quick)
            row = {"backbone": backbone, **extended(weights, folder, options.threads)}
            report["rows"].append(row)
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    finish(report)


def write_crops(folder: Path, shared: Path | None) -> None:
    """Two labelled crops one above the other, of a real scan or else of a phantom."""
    if shared:
        hu, mask, affine = example_part(shared / "data", [STRUCTURE])
    else:
        phantom = make_phantom(0, (3.0,) * 3)
        hu, mask, affine = np.asarray(phantom.image().dataobj), phantom.masks["liver"], phantom.affine
    centre = np.argwhere(mask).mean(0).astype(int)
    first = [max(0, int(n) - SIDE // 2) for n in centre[:2]]
    for n, low in enumerate((int(centre[2]) - SLICES, int(centre[2]))):
        start = (*first, max(0, low))
        box = tuple(slice(a, a + n) for a, n in zip(start, (SIDE, SIDE, SLICES), strict=True))
        write_case(folder / f"crop{n}", hu[box], moved(affine, start), {NAME: mask[box]})


def moved(affine: NDArray[np.float64], start: tuple[int, ...]) -> NDArray[np.float64]:
    """The affine of a part that begins at a voxel."""
    found = affine.copy()
    found[:3, 3] = (affine @ [*start, 1])[:3]
    return found


def extended(weights: Path, folder: Path, threads: int | None) -> dict[str, Any]:
    """Run the command and read what it says, and when."""
    pack = folder / f"{weights.stem}.pack.safetensors"
    command = [sys.executable, "-m", "umlite", "extend", str(folder / "cases"), "--name", NAME, "-o", str(pack)]
    command += ["--weights", str(weights), "--json"] + (["--threads", str(threads)] if threads else [])
    start, peaks = time.perf_counter(), [0]
    said: list[tuple[float, str]] = []
    with open(folder / "told.json", "w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True)
        watch = threading.Thread(target=_watch, args=(process, peaks))
        watch.start()
        assert process.stderr
        for line in process.stderr:
            said.append((time.perf_counter() - start, line))
        process.wait()
        watch.join()
        if process.returncode:
            raise SystemExit(f"umlite extend ended with {process.returncode}: {said[-1:]}")
        output.seek(0)
        told = json.loads(output.read())
    features = [when for when, line in said if line.startswith("Features")]
    trials = [when for when, line in said if re.match("From .* after", line)]
    windows = [_windows(path) for path in sorted(Path(f"{pack}.work").glob("*.safetensors"))]
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "windows": sum(windows),
        "feature_s_per_window": round((features[1] - features[0]) / (sum(windows) / len(windows)), 2),
        "step_s": round(median(np.diff(trials)) / TRIAL_STEPS, 4),
        "peak_gb": round(peaks[0] * 1024 / 1e9, 3),
        "disk_mb": round(sum(path.stat().st_size for path in Path(f"{pack}.work").iterdir()) / 1e6, 2),
        "pack_mb": round(pack.stat().st_size / 1e6, 2),
        "unchanged": told["unchanged"],
        "load": round(os.getloadavg()[0], 1),
    }


def _watch(process: subprocess.Popen[str], peaks: list[int]) -> None:
    while process.poll() is None:
        peaks[0] = max(peaks[0], peak_kb(process.pid))
        time.sleep(POLL_S)


def _windows(path: Path) -> int:
    with safe_open(path, "np") as file:
        return file.get_slice("image").get_shape()[0]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="unet,swin_unetr", help="comma separated")
    parser.add_argument("--shared", type=Path, help="folder with data/example_ct.nii.gz; crops of a phantom by default")
    parser.add_argument("--threads", type=int, help="all that this process may use by default")
    parser.add_argument("--quick", action="store_true", help="narrow networks")
    return parser.parse_args()


if __name__ == "__main__":
    main()

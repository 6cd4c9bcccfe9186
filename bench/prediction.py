"""How well `umlite plan` predicts seconds and memory: ten scan shapes, each segmented in a process of its own.

    python -m bench.prediction                 # bundled demo weights, phantoms of several fields of view and spacings
    python -m bench.prediction --shapes 3,4    # some of the ten
    python -m bench.prediction --quick         # two small ones, to try the script

A phantom is drawn at 3 mm and its voxels are repeated to the wanted spacing, with noise: cost depends on the shapes.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bench.report import begin, finish
from umlite import Segmenter
from umlite.batch.jobs import lay_out_jobs
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.run import run_jobs
from umlite.cost.forecast import Forecast
from umlite.cost.measuring import calibration_of
from umlite.machine.threads import available_threads
from umlite.phantom import Phantom, make_phantom
from umlite.request import Request

DRAWN_MM = 3.0
ABDOMEN, ABDOMEN_PELVIS, TRUNK = 1, 0, 2  # seeds, by field of view
SHAPES: tuple[tuple[int, tuple[float, float, float]], ...] = (
    (ABDOMEN, (4.0, 4.0, 4.0)),
    (ABDOMEN, (0.7, 0.7, 2.5)),
    (ABDOMEN, (1.0, 1.0, 1.0)),
    (ABDOMEN_PELVIS, (3.0, 3.0, 3.0)),
    (ABDOMEN_PELVIS, (0.8, 0.8, 5.0)),
    (ABDOMEN_PELVIS, (1.5, 1.5, 1.5)),
    (ABDOMEN_PELVIS, (0.8, 0.8, 1.0)),
    (TRUNK, (2.0, 2.0, 2.5)),
    (TRUNK, (1.2, 1.2, 3.0)),
    (TRUNK, (0.8, 0.8, 1.25)),
)
QUICK = ((ABDOMEN, (8.0, 8.0, 8.0)), (ABDOMEN, (6.0, 6.0, 10.0)))
BARS = {"seconds": 0.25, "peak_gb": 0.15}


def main() -> None:
    options = arguments()
    if options.one:
        print(json.dumps(run(options, options.one)))
        return
    threads = options.threads or available_threads()[0]
    report = begin("prediction", {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()})
    chosen = QUICK if options.quick else SHAPES
    if options.shapes:
        chosen = tuple(SHAPES[int(number) - 1] for number in options.shapes.split(","))
    with tempfile.TemporaryDirectory(prefix="umlite-bench-") as folder:
        calibration_of(Segmenter(options.weights, device="cpu", threads=threads), again=True, tell=print)
        scans = options.folder or Path(folder)
        report["scans"] = [measured(options, scans, *shape, threads) for shape in chosen]
    for key, bar in BARS.items():
        worst = max((abs(row[f"{key}_error"]) for row in report["scans"]), default=0.0)
        report[f"worst_{key}_error"] = round(worst, 3)
        print(f"{key}: at most {100 * worst:.0f} % off (wanted: {100 * bar:.0f} %)")
    finish(report)


def measured(
    options: argparse.Namespace, folder: Path, seed: int, spacing: tuple[float, float, float], threads: int
) -> dict[str, Any]:
    """Segment one shape in a process of its own; prints and returns what was predicted and what it took."""
    path = scan_file(folder, seed, spacing, 8.0 if options.quick else DRAWN_MM)
    shape = nib.load(path).shape
    command = [sys.executable, "-m", "bench.prediction", "--one", str(path), "--threads", str(threads)]
    command += ["--weights", str(options.weights), "--classes", options.classes]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    row: dict[str, Any] = {"shape": shape, "spacing_mm": spacing, **json.loads(done.stdout.splitlines()[-1])}
    for key in BARS:
        row[f"{key}_error"] = round(row["predicted"][key] / row["actual"][key] - 1, 4)
    predicted, actual = row["predicted"], row["actual"]
    print(
        f"{'x'.join(map(str, shape)):>14s} {'x'.join(f'{mm:g}' for mm in spacing):>12s} mm"
        f"{predicted['windows_run']:6d} windows"
        f"{predicted['seconds']:9.2f} s for {actual['seconds']:7.2f} ({row['seconds_error']:+.0%})"
        f"{predicted['peak_gb']:7.2f} GB for {actual['peak_gb']:.2f} ({row['peak_gb_error']:+.0%})",
        flush=True,
    )
    return row


def run(options: argparse.Namespace, scan: Path) -> dict[str, Any]:
    """Segment one scan, file to files: its predicted and its actual cost, with the seconds of each step."""
    segmenter = Segmenter(options.weights, device="cpu", threads=options.threads)
    classes = None if options.classes == "all" else options.classes
    with tempfile.TemporaryDirectory(prefix="umlite-bench-") as folder:
        jobs = lay_out_jobs([scan], Path(folder) / "masks")
        request = Request.of(classes)
        (outcome,) = run_jobs(Model.of(segmenter), jobs, Orders(request), forecast_of=lambda s: Forecast(s, request))
    if outcome.cost is None or outcome.result is None:
        raise SystemExit(f"{scan}: {outcome.error}")
    return outcome.cost.to_dict()


def scan_file(folder: Path, seed: int, spacing: tuple[float, float, float], drawn: float) -> Path:
    """Where a shape's scan lies; made where it is not there yet."""
    path = folder / f"phantom_{seed}_{'_'.join(f'{mm:g}' for mm in spacing)}.nii.gz"
    if not path.exists():
        nib.save(stretched(phantom(seed, drawn), spacing), path)
    return path


@functools.lru_cache(maxsize=1)
def phantom(seed: int, spacing: float) -> Phantom:
    return make_phantom(seed, (spacing,) * 3)


def stretched(source: Phantom, spacing: tuple[float, float, float]) -> nib.Nifti1Image:
    """The phantom's CT at another spacing, int16, its voxels repeated and noise of 5 HU on them."""
    old = np.sqrt((source.affine[:3, :3] ** 2).sum(axis=0))
    places = [
        np.minimum((np.arange(max(int(n * mm / to), 1)) * to / mm).astype(int), n - 1)
        for n, mm, to in zip(source.hu.shape, old, spacing, strict=True)
    ]
    hu = source.hu.astype(np.int16)[np.ix_(*places)]
    hu += np.random.default_rng(0).normal(0, 5, (*hu.shape[:2], 1)).astype(np.int16)
    return nib.Nifti1Image(np.asfortranarray(hu), np.diag([*spacing, 1.0]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", default="demo", help="an installed name or a file")
    parser.add_argument("--classes", default="all", help="a request, or all")
    parser.add_argument("--shapes", help="numbers of the ten, comma separated")
    parser.add_argument("--folder", type=Path, help="where the scans are kept, to be used again")
    parser.add_argument("--threads", type=int, help="all that this process may use by default")
    parser.add_argument("--quick", action="store_true", help="two small scans")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

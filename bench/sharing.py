"""One Segmenter for many threads, and many processes on an empty cache: are all masks what a single run gives?

    python -m bench.sharing                     # 100 threads, ten scans each; eight processes that start at once
    python -m bench.sharing --quick             # a few, to try the script

Scans are boxes of a phantom, the weights those of the demo. The processes share one cache folder, in which nothing is
kept at first: all of them build kernels and pack weights at the same moment.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np

from bench.report import begin, finish
from umlite import Segmenter
from umlite.phantom import make_phantom

SEED = 0  # abdomen and pelvis
BOXES = 10
SIDES = (50, 40, 30)
CLASSES = "liver,spleen,kidneys,aorta"


def main() -> None:
    options = arguments()
    report = begin("sharing", {k: v for k, v in vars(options).items() if k != "one"})
    with tempfile.TemporaryDirectory(prefix="umlite-bench-") as folder:
        paths = scans(Path(folder))
        segmenter = Segmenter("demo", device="cpu", threads=options.threads)
        alone = [digest(segmenter, path) for path in paths]
        if len(set(alone)) < len(alone):
            raise SystemExit("Some scans have the same masks: wrong ones could not be told.")
        report["threads"] = by_threads(segmenter, paths, alone, options.callers, options.scans)
        print("{callers} threads, {scans} scans: {different} differ".format(**report["threads"]), flush=True)
        report["processes"] = by_processes(paths, alone, options.processes, Path(folder) / "cache")
        print("{processes} processes: {different} masks differ, {missing} are missing".format(**report["processes"]))
    finish(report)


def by_threads(
    segmenter: Segmenter, paths: list[Path], alone: list[str], callers: int, scans: int
) -> dict[str, int | float]:
    """Each caller segments so many scans through the one Segmenter."""
    start, count = time.perf_counter(), callers * scans
    with ThreadPoolExecutor(callers) as pool:
        found = list(pool.map(lambda i: digest(segmenter, paths[i % BOXES]), range(count)))
    different = sum(one != alone[i % BOXES] for i, one in enumerate(found))
    seconds = round(time.perf_counter() - start, 1)
    return {"callers": callers, "scans": count, "different": different, "seconds": seconds}


def by_processes(paths: list[Path], alone: list[str], count: int, cache: Path) -> dict[str, int | float]:
    """Each process segments all scans."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "bench.sharing", "--threads", "1", "--one", *map(str, paths)]
    environment = {**os.environ, "UMLITE_CACHE": str(cache)}
    runs = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    answers = [json.loads((run.communicate()[0].splitlines() or ["[]"])[-1]) for run in runs]
    different = sum(one != right for answer in answers for one, right in zip(answer, alone, strict=False))
    missing = sum(len(alone) - len(answer) for answer in answers)
    seconds = round(time.perf_counter() - start, 1)
    return {"processes": count, "different": different, "missing": missing, "seconds": seconds}


def scans(folder: Path) -> list[Path]:
    """Boxes of a phantom that overlap, one file each."""
    phantom = make_phantom(SEED)
    hu, rng = phantom.hu.astype(np.int16), np.random.default_rng(0)
    paths = []
    for number in range(BOXES):
        corner = [int(rng.integers(0, max(1, size - side))) for size, side in zip(hu.shape, SIDES, strict=True)]
        box = tuple(slice(at, at + side) for at, side in zip(corner, SIDES, strict=True))
        paths.append(folder / f"box_{number}.nii")
        nib.save(nib.Nifti1Image(hu[box], phantom.affine), paths[-1])
    return paths


def digest(segmenter: Segmenter, path: Path) -> str:
    """Hash of all masks of a scan."""
    result = segmenter.segment(path, CLASSES)
    found = hashlib.sha256()
    for name in result.voxels:
        found.update(np.packbits(result.mask(name)).tobytes())
    return found.hexdigest()[:16]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--callers", type=int, default=100, help="threads that call one Segmenter")
    parser.add_argument("--scans", type=int, default=10, help="scans of each of them")
    parser.add_argument("--processes", type=int, default=8, help="started at once")
    parser.add_argument("--threads", type=int, help="of the kernels; all that this process may use by default")
    parser.add_argument("--quick", action="store_true", help="4 threads, 2 scans each, 2 processes")
    parser.add_argument("--one", nargs="+", type=Path, help="segment these and print their hashes; for the processes")
    options = parser.parse_args()
    if options.quick:
        options.callers, options.scans, options.processes = 4, 2, 2
    return options


if __name__ == "__main__":
    chosen = arguments()
    if chosen.one:
        made = Segmenter("demo", device="cpu", threads=chosen.threads)
        print(json.dumps([digest(made, path) for path in chosen.one]))
    else:
        main()

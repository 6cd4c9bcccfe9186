"""Peak memory of `umlite segment` as a scan grows longer: synthetic, 512 x 512 x N at 0.8 x 0.8 x 1 mm, all classes.

    python -m bench.long_scan                                             # 800 and 1600 slices, bundled demo weights
    python -m bench.long_scan --backbone swin_unetr --slices 120          # full-size weights from a seed, a stretch
    python -m bench.long_scan --quick                                     # small scans, to try the script

The scan is a phantom, mirrored at its ends as often as it takes. Each length runs in a process of its own, whose peak
(VmHWM, of its whole life) is read while it runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bench.recipe import recipe_weights
from bench.report import begin, finish
from umlite.machine.threads import available_threads
from umlite.phantom import Phantom, make_phantom

SEED = 0  # abdomen and pelvis
DRAWN_MM = 3.0
SIDE = 512
SPACING_MM = (0.8, 0.8, 1.0)
SLICES = (800, 1600)
BARS_GB = {"demo": 3.0, "unet": 3.0, "swin_unetr": 4.0}
POLL_S = 0.05


def main() -> None:
    options = arguments()
    threads = options.threads or available_threads()[0]
    report = begin("long_scan", {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()})
    weights = options.backbone
    if options.quick or weights != "demo":
        weights = str(recipe_weights("unet" if weights == "demo" else weights, quick=options.quick))
    source = make_phantom(SEED, (8.0 if options.quick else DRAWN_MM,) * 3)
    report["scans"] = []
    for slices in (16, 32) if options.quick else map(int, options.slices.split(",")):
        with tempfile.TemporaryDirectory(prefix="umlite-bench-", dir=options.folder) as folder:
            scan = Path(folder) / "scan.nii.gz"
            nib.save(long_scan(source, slices, SIDE // 8 if options.quick else SIDE), scan)
            row = {"slices": slices, **measured(scan, weights, threads)}
        report["scans"].append(row)
        print(
            f"{slices:6d} slices{row['peak_gb']:7.3f} GB, {row['windows']} of {row['windows_total']} windows, "
            f"{row['seconds']:.1f} s ({', '.join(f'{step} {s:.1f}' for step, s in row['steps_s'].items())})",
            flush=True,
        )
    first, last = report["scans"][0], report["scans"][-1]
    if last["slices"] > first["slices"]:
        growth = (last["peak_gb"] - first["peak_gb"]) * 800 / (last["slices"] - first["slices"])
        report["growth_gb_per_800"] = round(growth, 4)
        print(f"{growth:.3f} GB more with every 800 slices")
    report["bar_gb"] = BARS_GB[options.backbone]
    print(f"at most {max(row['peak_gb'] for row in report['scans']):.3f} GB (wanted: {report['bar_gb']:g} GB)")
    finish(report)


def measured(scan: Path, weights: str, threads: int, packs: Sequence[Path] = ()) -> dict[str, Any]:
    """Segment a scan in a process of its own: its peak, windows and seconds."""
    command = [sys.executable, "-m", "umlite", "segment", str(scan), "-o", str(scan.parent / "masks"), "--json"]
    command += ["--weights", weights, "--device", "cpu", "--threads", str(threads), "--overwrite"]
    command += ["--with", ",".join(map(str, packs))] if packs else []
    peak = 0
    with open(scan.parent / "report.json", "w+") as output:
        process = subprocess.Popen(command, stdout=output)
        while process.poll() is None:
            peak = max(peak, peak_kb(process.pid))
            time.sleep(POLL_S)
        if process.returncode:
            raise SystemExit(f"umlite segment ended with {process.returncode}.")
        output.seek(0)
        (result,) = json.load(output)["scans"]
    counts, steps = result["windows"], result["timings_s"]
    return {
        "peak_gb": round(peak * 1024 / 1e9, 3),
        "windows": counts["run"],
        "windows_total": counts["total"],
        "seconds": round(sum(steps.values()), 2),
        "steps_s": steps,
        "masks_mb": round(sum(Path(file).stat().st_size for file in result["files"]) / 1e6, 2),
    }


def peak_kb(process: int) -> int:
    """A process's peak memory since it began or, as it does once its network is loaded, began to count anew."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def long_scan(source: Phantom, slices: int, side: int) -> nib.Nifti1Image:
    """The phantom's CT amid side x side voxels, int16, its voxels repeated, noise of 5 HU on each column."""
    drawn = np.sqrt((source.affine[:3, :3] ** 2).sum(axis=0))
    spacing = np.array(SPACING_MM) * [SIDE / side, SIDE / side, 1]
    hu = np.pad(source.hu.astype(np.int16), ((1, 1), (1, 1), (0, 0)), constant_values=-1000)
    across = [
        np.clip(np.rint((np.arange(side) - side / 2) * spacing[axis] / drawn[axis] + n / 2), 0, n - 1).astype(int)
        for axis, n in enumerate(hu.shape[:2])
    ]
    turn = (np.arange(slices) * spacing[2] / drawn[2]).astype(int) % (2 * hu.shape[2])
    along = np.minimum(turn, 2 * hu.shape[2] - 1 - turn)
    voxels = np.asfortranarray(hu[:, across[1]][across[0]][:, :, along])
    voxels += np.random.default_rng(0).normal(0, 5, (side, side, 1)).astype(np.int16)
    return nib.Nifti1Image(voxels, np.diag([*spacing, 1.0]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slices", default=",".join(map(str, SLICES)), help="lengths, comma separated")
    parser.add_argument("--backbone", default="demo", choices=tuple(BARS_GB), help="demo weights, or full-size ones")
    parser.add_argument("--folder", type=Path, help="where scans and masks lie meanwhile")
    parser.add_argument("--threads", type=int, help="all that this process may use by default")
    parser.add_argument("--quick", action="store_true", help="two small scans and a narrow network")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""How many spoilt scans are noticed, kind by kind, and how many good ones are blamed.

    python -m bench.plausibility                   # phantoms alone
    python -m bench.plausibility FOLDER SCAN ...   # and NIfTI scans: files, or all *.nii and *.nii.gz of folders
    python -m bench.plausibility --phantoms 50 --seconds

Every kind of fault is put into every scan. It counts as noticed where the scan is refused, or where a finding is there
that the good scan has not. A good scan is blamed where it has any finding.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bench.report import begin, finish
from umlite.errors import GeometryError
from umlite.phantom import make_phantom
from umlite.volume.reading import read_scan

Scan = tuple[np.ndarray, np.ndarray]
"""HU [X, Y, Z] and affine."""
Fault = Callable[[np.ndarray, np.ndarray], Scan]


def scaled(factor: float) -> Fault:
    """Lengths in another unit."""
    return lambda hu, affine: (hu, np.diag([factor, factor, factor, 1]) @ affine)


def mapped(change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    """Other numbers."""
    return lambda hu, affine: (change(hu), affine)


def window(low: float, high: float, top: float) -> Callable[[np.ndarray], np.ndarray]:
    """What an image viewer makes of HU: `low` to `high` on 0 to `top`."""
    return lambda hu: (np.clip(hu, low, high) - low) / (high - low) * top


def around(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """`value` outside a cylinder along the last axis, as scanners and resampling leave it."""

    def change(hu: np.ndarray) -> np.ndarray:
        x, y = (np.linspace(-1, 1, n)[:, None] if n > 1 else np.zeros((1, 1)) for n in hu.shape[:2])
        outside = x**2 + y.T**2 > 1.05
        spoilt = hu.astype(np.float32 if abs(value) > 32768 else np.int32)
        spoilt[outside] = value
        return spoilt

    return change


def undershoot(hu: np.ndarray) -> np.ndarray:
    """A few voxels below the rest, as a spline leaves them."""
    spoilt = hu + 1024
    spoilt[:: max(1, hu.shape[0] // 3), 1, 0] = -37
    return spoilt


def stored(hu: np.ndarray) -> np.ndarray:
    """The numbers a scanner stores: HU + 1024 in 12 bits."""
    return np.clip(hu + 1024, 0, 4095)


def some(hu: np.ndarray, affine: np.ndarray, step: int, count: int | None) -> Scan:
    """Every so manieth plane of the last axis."""
    first = hu.shape[2] // 2 if count else 0
    part = hu[:, :, first : None if count is None else first + count * step : step]
    return part, affine @ np.diag([1, 1, step, 1])


FAULTS: dict[str, Fault] = {
    "offset of 1024 lost, 12 bits": mapped(stored),
    "offset of 1024 lost, signed": mapped(lambda hu: hu + 1024),
    "offset of 1000 lost": mapped(lambda hu: hu + 1000),
    "offset lost, padded with -2000": mapped(lambda hu: around(-2000)(hu + 1024)),
    "offset lost, padded with -1024": mapped(lambda hu: around(-1024)(hu + 1024)),
    "offset lost, spline undershoot": mapped(undershoot),
    "offset added twice": mapped(lambda hu: hu - 1024),
    "offset added twice, padded with -3024": mapped(lambda hu: around(-3024)(hu - 1024)),
    "normalised to 0..1": mapped(window(-160, 240, 1)),
    "normalised to -1..1": mapped(lambda hu: window(-160, 240, 2)(hu) - 1),
    "normalised to 0..1, padded with -1024": mapped(lambda hu: around(-1024)(window(-1000, 1000, 1)(hu) * 1.0)),
    "z-scores": mapped(lambda hu: (hu - hu.mean()) / hu.std()),
    "attenuation in 1/cm": mapped(lambda hu: 0.19 * (1 + hu / 1000)),
    "windowed to 0..255": mapped(lambda hu: window(-160, 240, 255)(hu).astype(np.uint8)),
    "all HU on 0..255": mapped(lambda hu: window(-1024, 3071, 255)(hu).astype(np.uint8)),
    "all HU on -128..127": mapped(lambda hu: (window(-1024, 3071, 255)(hu) - 128).astype(np.int8)),
    "all HU on 0..1000": mapped(window(-1000, 1000, 1000)),
    "wrapped to 8 bits": mapped(lambda hu: hu.astype(np.int64).astype(np.int8)),
    "wrapped to 12 bits": mapped(lambda hu: hu.astype(np.int64) & 0xFFF),
    "wrapped to unsigned 16 bits": mapped(lambda hu: hu.astype(np.int64).astype(np.uint16)),
    "inverted": mapped(np.negative),
    "cut to 0..200": mapped(lambda hu: np.clip(hu, 0, 200)),
    "cut to -100..300": mapped(lambda hu: np.clip(hu, -100, 300)),
    "filled with -32768": mapped(around(-32768)),
    "filled with 32767": mapped(around(32767)),
    "filled with 1e20": mapped(around(1e20)),
    "metres called mm": scaled(1e-3),
    "centimetres called mm": scaled(0.1),
    "microns called mm": scaled(1e3),
    "millimetres called centimetres": scaled(10),
    "inches called mm": scaled(1 / 25.4),
    "affine lost": lambda hu, _affine: (hu, np.eye(4)),
    "three slices": lambda hu, affine: some(hu, affine, 1, 3),
    "slices left out, over 10 mm apart": lambda hu, affine: some(
        hu, affine, 1 + int(10 / np.linalg.norm(affine[:3, 2])), None
    ),
}


def codes_of(hu: np.ndarray, affine: np.ndarray) -> set[str]:
    """Codes of what is found in a scan; "refused" where it is."""
    image = nib.Nifti1Image(np.ascontiguousarray(hu if hu.dtype != np.int64 else hu.astype(np.int32)), affine)
    try:
        return {finding.code for finding in read_scan(image).findings}
    except GeometryError:
        return {"refused"}


def scans_of(options: argparse.Namespace) -> Iterator[tuple[str, Scan]]:
    """Phantoms of several spacings, then the files."""
    for seed in range(options.phantoms):
        phantom = make_phantom(seed, [(3, 3, 3), (3, 3, 5), (4, 4, 2.5), (5, 5, 8)][seed % 4])
        yield f"phantom {seed}", (phantom.hu.astype(np.int16), phantom.affine)
    for path in options.scans:
        files = [path] if path.is_file() else sorted([*path.glob("*.nii"), *path.glob("*.nii.gz")])
        for file in files:
            scan = read_scan(file, force_geometry=True)
            yield file.name, (scan.hu, scan.affine)


def measure(scans: Iterator[tuple[str, Scan]]) -> dict[str, Any]:
    """Noticed and missed scans for each kind of fault, and the findings about good scans."""
    noticed: dict[str, int] = dict.fromkeys(FAULTS, 0)
    missed: dict[str, list[str]] = {kind: [] for kind in FAULTS}
    blamed: dict[str, list[str]] = {}
    count = 0
    for name, (hu, affine) in scans:
        count += 1
        before = codes_of(hu, affine)
        if before:
            blamed[name] = sorted(before)
        for kind, fault in FAULTS.items():
            if codes_of(*fault(np.asarray(hu, np.float32 if hu.dtype.kind == "f" else np.int64), affine)) - before:
                noticed[kind] += 1
            else:
                missed[kind].append(name)
    return {"scans": count, "noticed": noticed, "missed": missed, "blamed": blamed}


def seconds(hu: np.ndarray, affine: np.ndarray) -> dict[str, float]:
    """Of reading a scan from a .nii.gz, and of the checks in that."""
    from umlite.volume import plausibility, values

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii.gz"
        nib.save(nib.Nifti1Image(hu, affine), path)
        whole = min(_timed(lambda: read_scan(path)) for _ in range(5))
        scan = read_scan(path)
        counter = values.Counter(scan.shape)
        counted = min(_timed(lambda: counter.add(scan.hu)) for _ in range(5))
        ends = min(_timed(lambda: values.range_of(scan.hu)) for _ in range(5))
        found = values.Values(0, 0, counter.counts)
        checked = min(_timed(lambda: plausibility.check_values(found)) for _ in range(5))
    return {"reading": whole, "counting": counted - ends, "checking": checked}


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="*", type=Path, help="NIfTI files, or folders of them")
    parser.add_argument("--phantoms", type=int, default=20, help="number of phantoms (default: 20)")
    parser.add_argument("--seconds", action="store_true", help="also time the checks beside the reading")
    options = parser.parse_args(arguments)
    report = begin("plausibility", {"phantoms": options.phantoms, "scans": [str(path) for path in options.scans]})
    report |= measure(scans_of(options))
    total = report["scans"]
    for kind, count in report["noticed"].items():
        first = ", ".join(report["missed"][kind][:3])
        print(f"{kind:42s} {count / total:6.3f}" + (f"   missed: {first}" if first else ""))
    share = sum(report["noticed"].values()) / (total * len(FAULTS))
    print(
        f"noticed: {share:.4f} of {total * len(FAULTS)}; good scans with a finding: {len(report['blamed'])} of {total}"
    )
    for name, codes in report["blamed"].items():
        print(f"  {name}: {', '.join(codes)}")
    if options.seconds:
        phantom = make_phantom(0, (1.5, 1.5, 1.5))
        report["seconds"] = seconds(phantom.hu.astype(np.int16), phantom.affine)
        print(", ".join(f"{step} {value * 1000:.1f} ms" for step, value in report["seconds"].items()))
    finish(report)


if __name__ == "__main__":
    main()

"""Size of report pages by number of slices, seconds to write them, and until a browser shows them.

    python -m bench.pages SCAN                      # 112, 300 and 800 slices made of the scan's, which are repeated
    python -m bench.pages SCAN --slices 112 --whole  # also as the scan is

Masks are those of the demo weights, all 32 classes. Times of a browser are from opening the file until the first slice
is drawn, and until all slices are unpacked; they need Chromium.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bench.chromium import browser, program
from bench.report import begin, finish
from umlite import Segmenter
from umlite.dicom.reading import read_source
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import MasksOnScan
from umlite.outputs.file_set import together
from umlite.products.report.content import ReportContent
from umlite.products.report.writing import write_report
from umlite.results.segmentation import Segmentation
from umlite.results.statistics import Statistics, statistics
from umlite.volume.reading import read_scan

SLICES = (112, 300, 800)


def main() -> None:
    options = arguments()
    report = begin("pages", {"scan": options.scan.name, "slices": options.slices})
    segmented = Segmenter("demo").segment(read_source(options.scan))
    numbers = statistics(segmented)
    cases = [segmented] if options.whole else []
    cases += [repeated(segmented, int(slices)) for slices in options.slices.split(",") if slices]
    report["pages"] = []
    for result in cases:
        row = measured(result, replace(numbers, lesions=()))
        report["pages"].append(row)
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    finish(report)


def repeated(result: Segmentation, slices: int) -> Segmentation:
    """The same planes back and forth until there are enough, 1 mm apart."""
    scan = result.scan
    turn = np.arange(slices) % (2 * scan.shape[2])
    along = np.minimum(turn, 2 * scan.shape[2] - 1 - turn)
    affine = np.diag([*scan.spacing_mm[:2], 1.0, 1.0])
    image = read_scan(nib.Nifti1Image(scan.hu[:, :, along], affine), force_geometry=True)
    return replace(result, scan=image, masks=RepeatedMasks(result.masks, along))


class RepeatedMasks(MasksOnScan):
    """Planes of other masks in some order. along: for each plane, which."""

    def __init__(self, source: MasksOnScan, along: np.ndarray) -> None:
        x, y, z = source.shape
        self.shape, self.names = (x, y, len(along)), source.names
        self._planes, self._along = source.planes(0, z), along

    def groups(self) -> Iterator[MasksOnScan]:
        yield self  # few classes

    def planes(self, first: int, end: int) -> BitMask:
        """Planes `first` to `end` (excluded)."""
        return self._planes.part(np.s_[:, :, self._along[first:end]])


def measured(result: Segmentation, numbers: Statistics) -> dict[str, Any]:
    """Write one page and open it."""
    with tempfile.TemporaryDirectory(prefix="umlite-bench-") as folder:
        path = Path(folder) / "page.html"
        start = time.perf_counter()
        with together(path.parent) as files:
            write_report(files, path, ReportContent(result, numbers))
        row = {
            "voxels": "x".join(map(str, result.scan.shape)),
            "megabytes": round(path.stat().st_size / 1e6, 2),
            "write_s": round(time.perf_counter() - start, 2),
        }
        return row | (opened(path) if program() else {})


def opened(path: Path) -> dict[str, float]:
    """Seconds until a browser has drawn the first picture, and unpacked all."""
    with tempfile.TemporaryDirectory(prefix="umlite-bench-") as profile, browser(Path(profile)) as page:
        page.view(1280, 900)
        page.open(path)
        page.wait("performance.getEntriesByName('all pictures').length")
        marks = page.run("Object.fromEntries(performance.getEntriesByType('mark').map(m => [m.name, m.startTime]))")
        side = page.run("JSON.parse(document.getElementById('scan').textContent).size[0]")
    return {
        "pixels": side,
        "first_picture_s": round(marks["first picture"] / 1000, 2),
        "all_pictures_s": round(marks["all pictures"] / 1000, 2),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scan", type=Path, help="a scan's file, or a folder of DICOM")
    parser.add_argument("--slices", default=",".join(map(str, SLICES)), help="lengths, comma separated")
    parser.add_argument("--whole", action="store_true", help="also the scan as it is")
    return parser.parse_args()


if __name__ == "__main__":
    main()

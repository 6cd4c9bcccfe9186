"""Times a scan from file to files, step by step and repeatedly, with the reference pipeline beside it if wanted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umlite.api import Segmenter
from umlite.checks.reference_pipeline import ReferencePipeline
from umlite.machine.memory import peak_bytes, start_peak
from umlite.outputs.temporary import temporary_folder
from umlite.request import Classes, Request

STEPS = ("read", "prepare", "windows", "postprocess", "write")


@dataclass(frozen=True)
class Side:
    """Cost of one pipeline over several runs.

    Args:
        runs: seconds by step of each run.
        peak_bytes: largest resident set of the process in any run, with both pipelines' networks.
        windows: number of all windows.
        windows_run: number of windows that went through the network.
        extrapolated: whether the seconds stand for more windows or files than really ran.
    """

    runs: tuple[dict[str, float], ...]
    peak_bytes: int
    windows: int
    windows_run: int
    extrapolated: bool

    @property
    def totals(self) -> list[float]:
        """Seconds of each run."""
        return [sum(run.values()) for run in self.runs]

    @property
    def share_outside_windows(self) -> float:
        """Share of the time of all runs that is spent outside the windows."""
        return 1 - sum(run["windows"] for run in self.runs) / sum(self.totals)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: p50 and p90 of each step and of the total."""
        steps = {step: _percentiles([run[step] for run in self.runs]) for step in self.runs[0]}
        return {
            "steps_s": steps,
            "total_s": _percentiles(self.totals),
            "share_outside_windows": round(self.share_outside_windows, 4),
            "peak_gb": round(self.peak_bytes / 1e9, 3),
            "windows": self.windows,
            "windows_run": self.windows_run,
            "extrapolated": self.extrapolated,
        }


@dataclass(frozen=True)
class ScanBenchmark:
    """The cost of one request on both sides.

    Args:
        load_s: seconds for loading the weights, which is in no run.
        ours: umlite's side.
        reference: the reference pipeline's side; None if it did not run.
    """

    load_s: float
    ours: Side
    reference: Side | None

    @property
    def ratio(self) -> float | None:
        """Median over runs of the reference pipeline's seconds divided by umlite's."""
        if self.reference is None:
            return None
        pairs = zip(self.reference.totals, self.ours.totals, strict=True)
        return statistics.median(theirs / mine for theirs, mine in pairs)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "load_s": round(self.load_s, 3),
            "umlite": self.ours.to_dict(),
            "reference": self.reference and self.reference.to_dict(),
            "ratio": self.ratio and round(self.ratio, 3),
        }


def benchmark_scan(
    load: Callable[[], Segmenter],
    scan: Path,
    request: Request | Classes = None,
    *,
    repeats: int = 3,
    reference: ReferencePipeline | None = None,
    reference_windows: int | None = None,
    reference_files: int | None = None,
) -> ScanBenchmark:
    """Segment a scan several times into a temporary folder, in turns with the reference pipeline.

    Args:
        load: makes the segmenter, and is timed.
        scan: the scan's file.
        request: what is asked of it.
        repeats: number of runs.
        reference: the other side; None to time umlite alone.
        reference_windows, reference_files: see `ReferencePipeline.run`.

    Raises:
        UmliteError: whatever `Segmenter.segment` and `Segmentation.save` raise.
    """
    start = time.perf_counter()
    segmenter = load()
    load_s = time.perf_counter() - start
    asked = Request.of(request)
    names = ",".join(c.name for c in segmenter.check_request(asked))
    mine: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    peak, reference_peak = 0, 0
    for _ in range(repeats):
        with temporary_folder("umlite-bench-") as folder:
            start_peak()
            result = segmenter.segment(scan, asked)
            start = time.perf_counter()
            result.save(folder / "masks")
            write = time.perf_counter() - start
            peak = max(peak, peak_bytes())
            mine.append({**{step: result.timings[step] for step in STEPS[:-1]}, "write": write})
            if reference is not None:
                start_peak()
                run = reference.run(
                    scan, folder, names, overlap=asked.overlap, windows=reference_windows, files=reference_files
                )
                reference_peak = max(reference_peak, peak_bytes())
                theirs.append(run.timings)
    ours = Side(tuple(mine), peak, result.windows.total, result.windows.run, False)
    if reference is None:
        return ScanBenchmark(load_s, ours, None)
    other = Side(tuple(theirs), reference_peak, run.windows, run.windows_run, run.is_extrapolated)
    return ScanBenchmark(load_s, ours, other)


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p90, interpolated linearly between runs."""
    import numpy as np

    return {f"p{q}": round(float(np.percentile(values, q)), 4) for q in (50, 90)}

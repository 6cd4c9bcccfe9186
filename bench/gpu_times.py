"""How fast the kernels and a window are on a GPU, beside what its maker says it can do and the reference pipeline."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.flops import published_operations
from bench.gpu_cases import Case
from bench.gpu_device import Device
from bench.recipe import sample_window
from umlite.checks.reference_network import load_reference
from umlite.engines.engine import Engine
from umlite.gpu.memory import MOST_WINDOWS

ROUNDS = 2


def kernel_times(gpu: Device, cases: Iterable[Case], repeats: int) -> list[dict[str, Any]]:
    """A row for each kernel: seconds, bytes and operations a second, and these as shares of the device's peaks."""
    rows = []
    for case in cases:
        with torch.inference_mode():
            seconds = _spread(gpu.seconds(case.launch, repeats))
        bandwidth, rate = case.bytes / seconds["median"], case.flop / seconds["median"]
        row = {
            "kernel": case.name,
            "seconds": seconds,
            "gb_s": bandwidth / 1e9,
            "gflop_s": rate / 1e9,
            "unit": case.unit,
        }
        if gpu.peaks is not None:
            peak = gpu.peaks.half_tflops if case.unit == "half" else gpu.peaks.float_tflops
            row |= {"of_bandwidth": bandwidth / (gpu.peaks.memory_gb_s * 1e9), "of_arithmetic": rate / (peak * 1e12)}
        rows.append(row)
    return rows


def kernel_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown."""
    lines = ["| kernel | microseconds | GB/s | of peak | GFLOP/s | of peak |", "|---|" + 5 * "---|"]
    for row in rows:
        arithmetic = [f"{row['gflop_s']:.0f}", _share(row.get("of_arithmetic"))] if row["gflop_s"] else ["", ""]
        cells = [row["kernel"], f"{1e6 * row['seconds']['median']:.1f}", f"{row['gb_s']:.0f}"]
        lines.append(f"| {' | '.join([*cells, _share(row.get('of_bandwidth')), *arithmetic])} |")
    return lines


def window_times(gpu: Device, engine: Engine, weights: Path, repeats: int) -> dict[str, Any]:
    """Seconds of a window, from scan to sums, all classes: alone, in the largest batch, and the reference pipeline's.

    The reference is its network alone, without gather and blending, as torch's defaults run it (TF32 in convolutions).
    """
    card = engine.card
    network, _ = load_reference(weights, gpu.device)
    side = max(card.window)
    x = sample_window(side)[..., : card.window[0], : card.window[1], : card.window[2]].to(gpu.device)
    volume = x[0, 0].contiguous()
    sums = torch.zeros(len(card.classes), *volume.shape, device=gpu.device)
    classes = range(len(card.classes))
    seconds: dict[str, list[float]] = {"reference": [], "one": [], "batch": []}
    with torch.inference_mode():
        for _ in range(ROUNDS):
            seconds["reference"] += gpu.seconds(lambda: network(x), repeats)
            for name, count in (("one", 1), ("batch", MOST_WINDOWS)):
                starts = [(0, 0, 0)] * count
                taken = gpu.seconds(lambda s=starts: engine.add_windows(volume, s, classes, sums, (0, 0, 0)), repeats)
                seconds[name] += [t / count for t in taken]
    measured = {name: _spread(values) for name, values in seconds.items()}
    operations = sum(published_operations(card.network, card.window).values())
    rate = operations / measured["batch"]["median"]
    return {
        "network": card.name,
        "window": list(card.window),
        "precision": engine.setup.options.precision,
        "seconds": measured,
        "ratio": measured["reference"]["median"] / measured["batch"]["median"],
        "published_gflop": operations / 1e9,
        "published_gflop_s": rate / 1e9,
        "of_arithmetic": rate / (gpu.peaks.half_tflops * 1e12) if gpu.peaks is not None else None,
    }


def window_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown."""
    lines = ["| window | reference | umlite, one | umlite, batch | ratio | GFLOP/s | of peak |", "|---|" + 6 * "---|"]
    for row in rows:
        cells = [f"{1e3 * row['seconds'][name]['median']:.2f} ms" for name in ("reference", "one", "batch")]
        cells += [f"{row['ratio']:.1f}", f"{row['published_gflop_s']:.0f}", _share(row["of_arithmetic"])]
        lines.append(f"| {row['network']} | {' | '.join(cells)} |")
    return lines


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}


def _share(value: float | None) -> str:
    """Of a peak; empty where none is known."""
    return "" if value is None else f"{100 * value:.0f} %"

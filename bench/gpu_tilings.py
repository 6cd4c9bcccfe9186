"""Other tilings than the launch tables choose, timed on this GPU: what to put into the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch

from bench.gpu_cases import Case, cases
from bench.gpu_checks import check_kernel
from bench.gpu_session import Session
from bench.gpu_worker import Earlier, Row, guarded

ATTENTION = ((64, 32, 4), (64, 64, 4), (128, 32, 4), (128, 32, 8), (128, 64, 8), (32, 32, 2), (64, 16, 4), (64, 32, 8))
"""Queries and keys of a block, warps. The first is what the launch code uses."""
HEADS = ((4, 256, 4), (4, 128, 4), (4, 256, 8), (4, 512, 8), (2, 512, 4), (8, 128, 4), (0, 512, 4))
"""Classes of a step (0: multiply-adds), voxels of a block, warps. The first is what the launch code uses."""


def tilings(session: Session, earlier: Earlier) -> Iterator[Row]:  # noqa: ARG001
    """Window attention, then the fused heads, in float16 (float32 in a rehearsal)."""
    from umlite.kernels.triton import fused_heads, window_attention
    from umlite.kernels.triton.fused_heads import Variant

    half = session.gpu.device.type == "cuda"
    dtype = "float16" if half else "float32"
    wanted = {case.name: case for case in _first(session, dtype)}
    for query, key, warps in ATTENTION:
        patch = {"BLOCK_QUERY": query, "BLOCK_KEY": {2: key, 4: key}, "WARPS": warps}
        row: Row = {"kernel": f"window_attention, {dtype}", "queries": query, "keys": key, "warps": warps}
        with mock.patch.multiple(window_attention, **patch):
            yield _timed(session, row, wanted[row["kernel"]])
    for step, block, warps in HEADS:
        variant = Variant(step, block, warps)
        row = {"kernel": f"fused_heads, {dtype}", "step": step, "voxels": block, "warps": warps}
        with mock.patch.object(fused_heads, "choose", lambda *_, chosen=variant: chosen):
            yield _timed(session, row, wanted[row["kernel"]])


def _first(session: Session, dtype: str) -> Iterator[Case]:
    names = {f"window_attention, {dtype}", f"fused_heads, {dtype}"}
    for case in cases(session.gpu.device, session.side):
        if case.name in names:
            names.remove(case.name)
            yield case
        if not names:
            return


def _timed(session: Session, row: Row, case: Case) -> Row:
    """A tiling that the compiler or the GPU refuses is no fault of the benchmark: it is told as such."""

    def measure() -> dict[str, Any]:
        check = check_kernel(case)
        if not check.passed:
            return {"refused": check.fault or f"error {check.error:.1e}"}
        with torch.inference_mode():
            return {"seconds": session.gpu.median_seconds(case.launch, session.asked.repeats)}

    return guarded(row, measure)

"""The libraries of C kernels that came with the package: one folder per instruction set."""

from __future__ import annotations

import platform
from pathlib import Path

BUILT = Path(__file__).with_name("built")
INSTRUCTIONS = {"avx512": "AVX-512", "avx2": "AVX2", "sse2": "SSE2", "neon": "NEON"}
"""Folder of `BUILT` -> name of the instruction set, fastest first."""
SUFFIXES = ("so", "dylib", "dll")


def prebuilt(source: Path) -> Path | None:
    """The library built from a source file for the fastest instructions that this processor has."""
    for name in _usable():
        for suffix in SUFFIXES:
            path = BUILT / name / f"{source.stem}.{suffix}"
            if path.is_file():
                return path
    return None


def _usable() -> list[str]:
    """Folders whose libraries this processor can run, fastest first."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return ["neon"]
    if platform.machine().lower() not in ("x86_64", "amd64") or not BUILT.is_dir():
        return []
    import torch

    # torch asks the processor and the system for what the kernels need too: AVX-512 F, BW, DQ and VL; AVX2 and FMA.
    lacking = {"AVX512": (), "AVX2": ("avx512",)}.get(torch.backends.cpu.get_cpu_capability(), ("avx512", "avx2"))
    return [name for name in ("avx512", "avx2", "sse2") if name not in lacking]

"""Sizes of memory as people write and read them."""

from __future__ import annotations

import math
import re

from umlite.errors import RequestError

GB = 1e9
_UNITS = {"": 1e9, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_size(text: str) -> int:
    """Bytes of a size such as "3GB", "800MB", "2GiB", or a number of gigabytes without a unit.

    Raises:
        RequestError: not a size.
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*", text.lower())
    size = float(match[1]) * _UNITS.get(match[2], math.nan) if match else math.nan
    if not 1 <= size <= 1e18:
        raise RequestError(f"Expected a size like 3GB, 800MB or 2.5 (gigabytes), found {text!r}.")
    return int(size)


def format_size(size: float) -> str:
    """Bytes as text: "1.25 GB", or "34 MB" below 0.1 GB."""
    return f"{size / GB:.2f} GB" if size >= 0.1 * GB else f"{size / 1e6:.3g} MB"

"""Seeded randomness: independent streams by name, and smooth noise that does not depend on voxel size."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""A float32 array of whatever shape the docstring says."""
Vector = Sequence[float] | NDArray[Any]
"""A point or three sizes in mm."""

PERIOD = 32
_BSPLINE_STD = 0.479**1.5
"""Standard deviation that cubic B-spline interpolation leaves of unit white noise on a lattice, averaged over space."""


def stream(seed: int, name: str) -> np.random.Generator:
    """A random generator for one purpose, independent of everything else that is drawn."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())])))


def lattice_noise(rng: np.random.Generator, axes_mm: Sequence[Array], step_mm: float) -> Array:
    """Smooth noise of mean 0 and standard deviation near 1 on the product of three axes, float32 [X, Y, Z].

    The lattice starts at coordinate 0 and repeats after 32 steps, so a finer or shifted grid sees the same noise.

    Args:
        axes_mm: coordinates along x, y and z.
        step_mm: lattice step, about half the size of a blob.
    """
    noise = rng.standard_normal((PERIOD,) * 3, dtype=np.float32) / np.float32(_BSPLINE_STD)
    for axis in (2, 1, 0):
        place, weights = _taps(axes_mm[axis], step_mm)
        shape = [1, 1, 1]
        shape[axis] = -1
        total = np.take(noise, place % PERIOD, axis=axis) * weights[0].reshape(shape)
        for tap in (1, 2, 3):
            part = np.take(noise, (place + tap) % PERIOD, axis=axis)
            part *= weights[tap].reshape(shape)
            total += part
        noise = total
    return noise


def _taps(axis_mm: Array, step_mm: float) -> tuple[NDArray[np.int64], Array]:
    position = np.asarray(axis_mm, np.float64) / step_mm
    whole = np.floor(position)
    t = position - whole
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3],
    )
    return whole.astype(np.int64) - 1, (weights / 6).astype(np.float32)

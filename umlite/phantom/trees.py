"""Trees of branching vessels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SPREAD_DEG = (22.0, 42.0)
_SHORTER, _THINNER = (0.66, 0.92), (0.68, 0.82)


def grow_tree(
    rng: np.random.Generator, stem: NDArray[np.float64], levels: int, min_radius_mm: float
) -> list[NDArray[np.float64]]:
    """Curves [K, 4] of a tree whose first branch is `stem`; every branch forks in two, `levels` times."""
    curves, tips = [stem], [stem]
    for _ in range(levels):
        grown = []
        for tip in tips:
            forward = tip[-1, :3] - tip[0, :3]
            length = np.linalg.norm(forward)
            across = np.cross(forward, rng.normal(size=3))
            across /= np.linalg.norm(across)
            for sign in (1, -1):
                angle = np.radians(rng.uniform(*_SPREAD_DEG)) * sign
                heading = forward / length * np.cos(angle) + across * np.sin(angle)
                reach = length * rng.uniform(*_SHORTER)
                radius = tip[-1, 3] * rng.uniform(*_THINNER)
                if radius >= min_radius_mm:
                    grown.append(_branch(rng, tip[-1, :3], heading * reach, radius))
        curves += grown
        tips = grown
    return curves


def _branch(
    rng: np.random.Generator, start: NDArray[np.float64], reach: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    middle = start + reach / 2 + rng.normal(0, 0.06 * np.linalg.norm(reach), 3)
    rows = np.stack([start, middle, start + reach])
    return np.column_stack([rows, radius * np.array([1, 0.93, 0.86])])

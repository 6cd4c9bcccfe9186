"""The course of the small bowel: a chain packed into the room that the other organs leave."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from umlite.phantom.scene import Scene
from umlite.phantom.shapes import spline

_POINTS, _BOND_MM, _STEPS = 150, 11.5, 110
_RADIUS_MM = (10.5, 13.5)
_START, _END = (-38, 52, -28), (80, 34, -138)
_CENTRE, _RADII = (0.0, 54.0, -108.0), (100.0, 44.0, 84.0)
_SOLID = (
    # balls (x, y, z, radius) that keep loops away: spine, kidneys, bladder or uterus
    *((0, 12, z, 34) for z in range(-140, 20, 20)),
    *((sign * 74, -10, z, 32) for z in (-50, -25, 0) for sign in (1, -1)),
    (0, 25, -205, 48),
)


def pack_loops(scene: Scene, rng: np.random.Generator) -> NDArray[np.float64]:
    """Axis [K, 4] of the small bowel: springs along the chain, repulsion between loops and from other organs."""
    radius = rng.uniform(*_RADIUS_MM)
    belly = 26 * scene.spec.visceral_fat
    centre, radii = np.add(_CENTRE, (0, 0.6 * belly, 0)), np.add(_RADII, (0.3 * belly, 0.6 * belly, 0))
    chain = np.linspace(_START, _END, _POINTS) + np.cumsum(rng.normal(0, 9, (_POINTS, 3)), axis=0)
    chain = centre + (chain - chain.mean(axis=0)) * (0.6 * radii / chain.std(axis=0)) * 0.7
    chain[0], chain[-1] = _START, _END
    balls = np.concatenate([_SOLID, scene.paths["colon"][:, :4], spline(scene.paths["colon"], 22)])
    balls = np.concatenate([balls, spline(scene.paths["stomach"], 24), spline(scene.paths["duodenum"], 14)])
    near = np.abs(np.subtract.outer(np.arange(_POINTS), np.arange(_POINTS))) <= 2
    for _ in range(_STEPS):
        push = _repel(chain, chain, 2 * radius + 1.5, near)
        push += 1.6 * _repel(chain, balls[:, :3], balls[:, 3] + radius + 1.5, None)
        bond = np.diff(chain, axis=0)
        length = np.linalg.norm(bond, axis=1, keepdims=True)
        pull = bond * (0.42 * (length - _BOND_MM) / np.maximum(length, 1e-6))
        push[:-1] += pull
        push[1:] -= pull
        push[1:-1] += 0.06 * (chain[2:] + chain[:-2] - 2 * chain[1:-1])
        outside = (chain - centre) / radii
        far = np.linalg.norm(outside, axis=1, keepdims=True)
        push -= np.maximum(far - 1, 0) * 0.5 * (chain - centre)
        chain += np.clip(push, -6, 6)
        chain[0], chain[-1] = _START, _END
    path = np.column_stack([chain, np.full(_POINTS, radius)])
    path[:, 3] *= np.exp(np.convolve(rng.normal(0, 0.3, _POINTS + 4), np.ones(5) / 5, mode="valid"))
    return spline(path, 8)


def _repel(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    keep_mm: float | NDArray[np.float64],
    skip: NDArray[np.bool_] | None,
) -> NDArray[np.float64]:
    """Sum of the displacements that move points a [N, 3] halfway to a distance of `keep_mm` from points b [M, 3]."""
    away = a[:, None] - b[None]
    distance = np.sqrt(np.einsum("nmk,nmk->nm", away, away)) + 1e-6
    overlap = np.maximum(keep_mm - distance, 0) / distance
    if skip is not None:
        overlap[skip] = 0
    return 0.3 * np.einsum("nm,nmk->nk", overlap, away)

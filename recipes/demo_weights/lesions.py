"""Lesions painted into healthy organs of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from recipes.demo_weights.deformation import smooth_noise
from umlite.training.image import Bits, class_bits


@dataclass(frozen=True)
class LesionKind:
    """How one kind of lesion looks.

    Args:
        hosts: classes that it grows in.
        hu: range of its HU, or of the difference to its host if `relative`.
        relative: whether HU are differences to the host.
        radius_mm: range.
        native_hu: another range of differences for hosts without contrast agent.
    """

    hosts: tuple[str, ...]
    hu: tuple[float, float]
    relative: bool
    radius_mm: tuple[float, float]
    native_hu: tuple[float, float] | None = None


KINDS: dict[str, LesionKind] = {
    "liver_tumor": LesionKind(("liver",), (-75, -20), True, (6, 24)),
    "kidney_tumor": LesionKind(("right_kidney", "left_kidney"), (-110, -35), True, (7, 24), (20, 45)),
    "kidney_cyst": LesionKind(("right_kidney", "left_kidney"), (-5, 18), False, (6, 21)),
    "pancreas_tumor": LesionKind(("pancreas",), (-55, -20), True, (6, 18)),
    "colon_tumor": LesionKind(("colon",), (30, 90), False, (9, 21)),
    "lung_tumor": LesionKind(("right_lung", "left_lung"), (20, 80), False, (6, 18)),
}

_NATIVE_BELOW_HU = 60.0
"""A kidney without contrast agent has about 30 HU. Solid lesions in it are brighter, cysts are darker."""


def paint_lesions(
    hu: NDArray[np.float32],
    present: Bits,
    known: Bits,
    classes: Sequence[str],
    spacing_mm: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], Bits, Bits]:
    """An image without lesions with some of each kind: HU, present and known bits.

    Every kind becomes known wherever the image knows anything, whether one was painted or not.
    """
    hu, present, known = hu.copy(), present.copy(), known.copy()
    anything_known = known != 0
    for name, kind in KINDS.items():
        if name not in classes:
            continue
        known |= class_bits([name], classes) * anything_known.astype(np.uint32)
        host = (present & class_bits(kind.hosts, classes)) != 0
        for _ in range(int(rng.poisson(0.7))):
            _paint(hu, present, host, class_bits([name], classes), kind, spacing_mm, rng)
    return hu, present, known


def _paint(
    hu: NDArray[np.float32],
    present: Bits,
    host: NDArray[np.bool_],
    bit: np.uint32,
    kind: LesionKind,
    spacing_mm: float,
    rng: np.random.Generator,
) -> None:
    places = np.flatnonzero(host)
    if not len(places):
        return
    centre = np.unravel_index(rng.choice(places), host.shape)
    radii = rng.uniform(*kind.radius_mm) / spacing_mm * rng.uniform(0.75, 1.3, 3)
    low = [max(0, int(c - 1.5 * r - 2)) for c, r in zip(centre, radii, strict=True)]
    high = [min(n, int(c + 1.5 * r + 3)) for c, r, n in zip(centre, radii, host.shape, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    axes = np.ix_(*(np.arange(a, b) - int(c) for a, b, c in zip(low, high, centre, strict=True)))
    distance = np.sqrt(sum((axis / r) ** 2 for axis, r in zip(axes, radii, strict=True)))
    distance = distance + 0.15 * smooth_noise(distance.shape, 4, rng).numpy()
    mask = (distance < 1) & host[box]
    if not mask.any():
        return
    around = float(np.median(hu[box][mask]))
    own = kind.native_hu if kind.native_hu and around < _NATIVE_BELOW_HU else kind.hu
    level = rng.uniform(*own) + (around if kind.relative else 0.0)
    cover = F.avg_pool3d(torch.from_numpy(mask.astype(np.float32))[None, None], 3, 1, 1)[0, 0].numpy()
    cover = np.where(mask, np.maximum(cover, 0.6), cover * 0.5)
    texture = rng.uniform(3, 12) * smooth_noise(distance.shape, 2, rng).numpy()
    rest = (hu[box] - around) * 0.3 if kind.relative else 0.0
    hu[box] = hu[box] * (1 - cover) + (level + texture + rest) * cover
    present[box] |= bit * mask.astype(np.uint32)

"""A synthetic patient for checking weights: the upper abdomen of a phantom, and the windows that show its organs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from umlite.weights.model_card import ModelCard

LARGE_ORGANS = (
    *("spleen", "right_kidney", "left_kidney", "liver", "stomach", "aorta"),
    *("right_lung", "left_lung"),
)
"""Classes that are checked: large, present in everybody, and near enough to be seen by two windows."""
LEAST_ML = 20.0  # of an organ that counts as seen
WINDOWS = 2
SPACINGS_MM = (1.0, 6.0)  # voxels that show the organs, in seconds of drawing
MOST_WINDOW_VOXELS = 160**3
SEED = 1_000_001


@dataclass(frozen=True, eq=False)
class Views:
    """Windows of the patient. x: float32 [N, 1, X, Y, Z] in [0, 1]. organs: bool [N, X, Y, Z] by name."""

    x: NDArray[np.float32]
    organs: dict[str, NDArray[np.bool_]]
    voxel_ml: float

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Voxels of the body that are no air."""
        return self.x[:, 0] > 0


def reason_against(card: ModelCard) -> str:
    """Why the patient cannot show what a network with this card knows; empty when it can."""
    known = [name for name in LARGE_ORGANS if name in card.classes]
    least, most = SPACINGS_MM
    if len(known) < 2:
        return "fewer than two of its classes are large organs of the synthetic patient"
    if not all(least <= s <= most for s in card.spacing_mm):
        return f"its voxels are not between {least:g} and {most:g} mm"
    if np.prod(card.window) > MOST_WINDOW_VOXELS:
        return "its windows are too large for a quick check"
    return ""


def draw_views(card: ModelCard, seed: int = SEED) -> Views:
    """Draw the patient at the card's spacing and cut the windows that show most of the organs that the card names."""
    from umlite.phantom import draw_spec, render_phantom

    spec = replace(
        draw_spec(seed),
        missing=(),
        lesions=(),
        metal="none",
        streak_hu=0.0,
        ring_hu=0.0,
        arms_down=False,
        phase="portal_venous",
        enhancement=1.0,
        kernel="soft",
        noise_hu=10.0,
        blur_mm=1.2,
        field_of_view="abdomen",
        z_range_mm=(-80.0, 130.0),
    )
    phantom = render_phantom(spec, card.spacing_mm)
    voxel_ml = float(np.prod(card.spacing_mm)) / 1000
    low, high = card.hu_range
    scaled = ((phantom.hu - low) / (high - low)).clip(0, 1).astype(np.float32)
    organs = {name: phantom.masks[name] for name in LARGE_ORGANS if name in card.classes}
    margins = [(0, max(0, wanted - n)) for wanted, n in zip(card.window, scaled.shape, strict=True)]
    scaled, organs = np.pad(scaled, margins), {name: np.pad(mask, margins) for name, mask in organs.items()}
    views = [tuple(map(slice, start, start + card.window)) for start in _starts(list(organs.values()), card.window)]
    x = np.stack([scaled[view] for view in views])[:, None]
    return Views(x, {name: np.stack([mask[view] for view in views]) for name, mask in organs.items()}, voxel_ml)


def _starts(masks: Sequence[NDArray[np.bool_]], window: tuple[int, int, int]) -> list[NDArray[np.int64]]:
    """Corners of windows, each centred between two organs, that together hold the largest shares of all organs."""
    shape = np.array(masks[0].shape)
    centres = [np.argwhere(mask).mean(axis=0) for mask in masks]
    corners = {
        tuple(np.clip(np.round((a + b - window) / 2), 0, shape - window).astype(int)) for a in centres for b in centres
    }
    shares = {c: np.array([m[tuple(map(slice, c, np.add(c, window)))].sum() / m.sum() for m in masks]) for c in corners}
    chosen: list[NDArray[np.int64]] = []
    seen = np.zeros(len(masks))
    for _ in range(WINDOWS):
        best = max(sorted(corners), key=lambda c: float(np.maximum(seen, shares[c]).sum()))
        seen = np.maximum(seen, shares[best])
        chosen.append(np.array(best))
    return chosen

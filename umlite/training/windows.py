"""Windows of training images: where they lie, and how their intensities vary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from umlite.training.image import Bits, TrainingImage

_FEWEST_SLICES = 8


@dataclass(frozen=True, eq=False)
class WindowSample:
    """One window.

    Args:
        voxels: float32 [D, H, W] in [0, 1].
        present, known: `Bits` [D, H, W], see `TrainingImage`.
    """

    voxels: NDArray[np.float32]
    present: Bits
    known: Bits


@dataclass(frozen=True)
class WindowSampler:
    """Draws windows from an image.

    Args:
        window: voxels along x, y and z.
        hu_range: becomes 0 to 1; HU beyond it are clipped.
        rare: weights, by class number, of classes to show often.
        rare_share: share of windows that are centred on one of those classes, give or take a quarter of a window.
        class_share: share of windows that are centred on any class, each class as often. The rest lie anywhere.
        thin_share: share of windows that hold only some slices, with zeros above and below, as inference fills up
            short scans. They are centred on any class, each class as often: what is rare lies in few thin scans.
        thin_slices: all of them have fewer slices than this; by default, than a window.
        augment: vary brightness, contrast, noise and sharpness.
    """

    window: tuple[int, int, int]
    hu_range: tuple[float, float]
    rare: Mapping[int, float] = field(default_factory=dict)
    rare_share: float = 0.3
    class_share: float = 0.4
    thin_share: float = 0.0
    thin_slices: int | None = None
    augment: bool = True

    def draw(self, image: TrainingImage, rng: np.random.Generator) -> WindowSample:
        """One window of an image, a function of the generator's state alone."""
        shape = image.hu.shape
        window = self.window
        thin = bool(self.thin_share) and rng.random() < self.thin_share
        if thin:
            fewer_than = min(self.thin_slices or window[2], window[2])
            window = (*window[:2], int(rng.integers(_FEWEST_SLICES, fewer_than)))
        centre = self._centre(image, rng, thin)
        jitter = [rng.integers(-(w // 4), w // 4 + 1) for w in window]
        starts = [
            int(np.clip(c + j - w // 2, 0, max(n - w, 0)))
            for c, j, w, n in zip(centre, jitter, window, shape, strict=True)
        ]
        part = tuple(slice(s, s + w) for s, w in zip(starts, window, strict=True))
        hu = image.hu[part].astype(np.float32)
        missing = [w - n for w, n in zip(self.window, hu.shape, strict=True)]
        pads = [(m // 2, m - m // 2) for m in missing]
        if self.augment:
            hu = vary_intensity(hu, rng)
        low, high = self.hu_range
        voxels = np.clip((hu - low) / (high - low), 0, 1)
        return WindowSample(
            np.pad(voxels, pads), np.pad(np.array(image.present[part]), pads), np.pad(np.array(image.known[part]), pads)
        )

    def _centre(self, image: TrainingImage, rng: np.random.Generator, thin: bool) -> NDArray[np.intp]:
        aim = rng.random()
        rare = [c for c in self.rare if c in image.centres and not thin]
        if aim < self.rare_share and rare:
            often = np.array([self.rare[c] for c in rare])
            choices = image.centres[int(rng.choice(rare, p=often / often.sum()))]
        elif aim < self.rare_share + self.class_share and image.centres:
            choices = image.centres[int(rng.choice(list(image.centres)))]
        else:
            return rng.integers(image.hu.shape)
        return choices[rng.integers(len(choices))]


def vary_intensity(hu: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """HU as another scanner, kernel and dose might have given them: brightness, contrast, sharpness and noise."""
    hu = hu * np.float32(rng.uniform(0.92, 1.08)) + np.float32(rng.normal(0, 8))
    if rng.random() < 0.25:
        blurred = F.avg_pool3d(torch.from_numpy(hu)[None, None], 3, stride=1, padding=1, count_include_pad=False)[
            0, 0
        ].numpy()
        hu = hu + (blurred - hu) * np.float32(rng.uniform(-0.5, 0.9))
    if rng.random() < 0.5:
        hu = hu + np.float32(rng.uniform(0, 25)) * rng.standard_normal(hu.shape, dtype=np.float32)
    return hu

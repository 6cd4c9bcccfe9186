"""Labelled images for training tests. In a module of its own, so that background processes can import it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umlite.training.image import TrainingImage, make_image, pack_masks

CLASSES = ("liver", "spleen", "left_kidney", "right_kidney", "liver_tumor")
PLACES = {
    "liver": (slice(17, 26), slice(8, 20), slice(10, 20)),
    "spleen": (slice(4, 9), slice(8, 14), slice(12, 20)),
    "left_kidney": (slice(5, 9), slice(6, 10), slice(3, 9)),
    "right_kidney": (slice(20, 24), slice(6, 10), slice(3, 9)),
    "liver_tumor": (slice(19, 22), slice(10, 14), slice(12, 16)),
}
HU = {"liver": 110, "spleen": 60, "left_kidney": 160, "right_kidney": 160, "liver_tumor": 40}


@dataclass(frozen=True)
class Boxes:
    """Boxes in a body, each image shifted and noisy in its own way; the liver lies at high x, the patient's right."""

    def make(self, seed: int) -> TrainingImage:
        rng = np.random.default_rng(seed)
        shift = rng.integers(-2, 3, 3)
        hu = np.full((30, 26, 24), -1000, np.float32)
        hu[2:28, 3:23, :] = -100
        masks = {}
        for name, place in PLACES.items():
            moved = tuple(slice(max(0, s.start + d), s.stop + d) for s, d in zip(place, shift, strict=True))
            hu[moved] = HU[name] + rng.normal(0, 10)
            masks[name] = np.zeros(hu.shape, bool)
            masks[name][moved] = True
        present = pack_masks(masks, CLASSES)
        known = np.full(present.shape, 2 ** len(CLASSES) - 1, np.uint32)
        return make_image(hu + rng.normal(0, 5, hu.shape), present, known, len(CLASSES))

"""Random contrast per structure, the idea of SynthSeg (arXiv 2107.09559).

Here it shifts real HU, so that texture, partial volume and everything without a label stay those of a scan.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

BACKGROUND = "background"
"""The name of structure 0."""

_CONTRAST_HU: dict[str, tuple[float, float]] = {
    "spleen": (35, 150),
    "kidney": (25, 210),
    "liver": (20, 140),
    "pancreas": (10, 130),
    "gallbladder": (-5, 30),
    "urinary_bladder": (-5, 40),
    "aorta": (35, 330),
    "iliac_artery": (35, 330),
    "inferior_vena_cava": (35, 180),
    "iliac_vena": (35, 180),
    "portal_vein": (35, 210),
    "adrenal": (0, 90),
}
"""Range of an organ's mean in any contrast phase, by the start of its structure's name."""
_SHIFT_HU: dict[str, tuple[float, float]] = {"vertebrae": (-60, 90), "hip": (-60, 90), "sacrum": (-60, 90)}
_OTHER_SHIFT_HU = (-15.0, 30.0)
_BOWEL = ("stomach", "duodenum", "small_bowel", "colon")
_GAS_HU = -150.0


def change_contrast(
    hu: NDArray[np.float32], structures: NDArray[np.uint8], names: dict[int, str], rng: np.random.Generator
) -> NDArray[np.float32]:
    """HU with a random mean for every structure without its gas; structures of one organ get the same mean."""
    soft = hu > _GAS_HU
    counts = np.bincount(structures[soft], minlength=max(names) + 1)
    means = np.bincount(structures[soft], hu[soft], minlength=max(names) + 1) / np.maximum(counts, 1)
    drawn: dict[str, float] = {}
    shift = np.zeros(max(names) + 1, np.float32)
    oral_hu = rng.uniform(60, 280) if rng.random() < 0.3 else rng.uniform(-10, 40)
    for number, name in sorted(names.items()):
        stem = next((s for s in _CONTRAST_HU if name.startswith(s)), "")
        if stem:
            drawn.setdefault(stem, rng.uniform(*_CONTRAST_HU[stem]))
            shift[number] = drawn[stem] + rng.normal(0, 4) - means[number]
        elif name in _BOWEL:
            shift[number] = oral_hu if rng.random() < 0.5 else rng.uniform(-10, 40)
        elif name != BACKGROUND and not name.startswith("lung"):
            bone = next((s for s in _SHIFT_HU if name.startswith(s)), "")
            drawn.setdefault(bone, rng.uniform(*_SHIFT_HU.get(bone, _OTHER_SHIFT_HU)))
            shift[number] = drawn[bone]
    shift[0] = 0
    field = torch.from_numpy(np.where(soft, shift[structures], 0).astype(np.float32))
    return hu + F.avg_pool3d(field[None, None], 3, stride=1, padding=1)[0, 0].numpy()

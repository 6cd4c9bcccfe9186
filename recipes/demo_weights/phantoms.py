"""Training images from procedural phantoms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from umlite.phantom import draw_spec, render_phantom
from umlite.phantom.noise import stream
from umlite.phantom.spec import with_more_lesions
from umlite.training.image import TrainingImage, class_bits, make_image, pack_masks

_NOISY_HU = (25.0, 45.0)


@dataclass(frozen=True)
class PhantomSource:
    """Phantoms as training images. Classes that phantoms do not model are unknown there.

    Args:
        classes: of the network, in order.
        spacing_mm: of the images.
        absent: classes that no phantom shows and that are therefore known to be absent.
        more_lesions: how many lesions a phantom gets on average beside its own, so that rare classes are seen often.
        native_share: share of the phantoms that are rendered without contrast agent whatever was drawn for them.
        noisy_share: share that get a sharp kernel and its noise whatever was drawn for them.
    """

    classes: tuple[str, ...]
    spacing_mm: tuple[float, float, float]
    absent: tuple[str, ...] = ()
    more_lesions: float = 0.0
    native_share: float = 0.0
    noisy_share: float = 0.0

    def make(self, seed: int) -> TrainingImage:
        """The image of the phantom of a seed."""
        spec = with_more_lesions(draw_spec(seed), self.more_lesions)
        if stream(seed, "native").random() < self.native_share:
            spec = replace(spec, phase="native")
        noisy = stream(seed, "noisy")
        if noisy.random() < self.noisy_share:
            spec = replace(spec, kernel="sharp", noise_hu=float(noisy.uniform(*_NOISY_HU)))
        phantom = render_phantom(spec, self.spacing_mm)
        present = pack_masks(phantom.masks, self.classes)
        known = np.full(present.shape, class_bits((*phantom.masks, *self.absent), self.classes), np.uint32)
        return make_image(phantom.hu, present, known, len(self.classes))

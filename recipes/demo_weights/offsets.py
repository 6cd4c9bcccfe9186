"""An offset for each class's logits, found on held-out phantoms and kept in the weights.

A loss that forbids voxels in the many windows without a class leaves its logits too low in the few windows with it. A
mask is where a logit is positive, with any weights, so the offset becomes part of the parameter generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray

from recipes.demo_weights.recipe import CALIBRATION_SEED
from umlite.api import Segmenter
from umlite.errors import WeightsError
from umlite.masks.bitmask import BitMask
from umlite.masks.postprocessing import postprocess
from umlite.models.parameter_generator import SharedController
from umlite.models.universal import UniversalModel
from umlite.phantom import draw_spec, render_phantom
from umlite.phantom.phantom import Phantom
from umlite.phantom.spec import with_more_lesions
from umlite.results.metrics import dice_of_counts

OFFSETS = tuple(float(x) for x in np.linspace(-2, 2, 17))
MORE_LESIONS = 2.0

Counts = NDArray[np.int64]
"""[offsets, 3]: overlapping, found and true voxels."""


@dataclass(frozen=True)
class Best:
    """The best of OFFSETS for a class, with its `score` and the score without an offset."""

    offset: float
    score_before: float
    score: float


def best_offsets(weights: Path, phantoms: int) -> dict[str, Best]:
    """The best offset of every class that the phantoms model, after post-processing; of equal ones the smallest.

    Args:
        weights: a weights file.
        phantoms: how many to use, with MORE_LESIONS than usual.
    """
    segmenter = Segmenter(weights)
    counts: dict[str, list[Counts]] = {}
    for seed in range(CALIBRATION_SEED, CALIBRATION_SEED + phantoms):
        spec = with_more_lesions(draw_spec(seed), MORE_LESIONS)
        for name, table in phantom_counts(segmenter, render_phantom(spec, segmenter.card.spacing_mm)).items():
            counts.setdefault(name, []).append(table)
    found, middle = {}, OFFSETS.index(0.0)
    for name in (n for n in segmenter.classes.names if n in counts):
        scores = score(np.stack(counts[name]))
        best = max(range(len(OFFSETS)), key=lambda i: (scores[i], -abs(i - middle)))
        found[name] = Best(OFFSETS[best], float(scores[middle]), float(scores[best]))
    return found


def score(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """How good each offset is for a class, [offsets] in [0, 1]. counts: [phantoms, offsets, 3], see `Counts`.

    Half of the score is the mean Dice of the phantoms that show the class: a small lesion counts as much as a large
    one. The other half is the Dice of all phantoms together, where false voxels in phantoms without it count too.
    """
    shows = counts[:, 0, 2] > 0
    if not shows.any():
        return np.zeros(counts.shape[1])  # no phantom tells one offset from another
    return (_dice(counts[shows]).mean(0) + _dice(counts.sum(0))) / 2


def phantom_counts(segmenter: Segmenter, phantom: Phantom) -> dict[str, Counts]:
    """Voxels of each class in a phantom, on the model's grid, with each offset given to all classes at once."""
    volume = segmenter.prepare(nib.Nifti1Image(phantom.hu, phantom.affine)).volume
    box = tuple(slice(*ends) for ends in zip(volume.frame.start, volume.frame.stop, strict=True))
    names = segmenter.classes.names
    logits = segmenter.blended_logits(volume).numpy()
    truth = {name: mask[box] for name, mask in phantom.masks.items() if name in names}
    counts = {name: np.zeros((len(OFFSETS), 3), np.int64) for name in truth}
    for i, offset in enumerate(OFFSETS):
        bits = BitMask.from_masks({name: logits[c] > -offset for c, name in enumerate(names)})
        masks, _ = postprocess(bits, names)
        for name, true in truth.items():
            found = masks.mask(name)
            counts[name][i] = (found & true).sum(), found.sum(), true.sum()
    return counts


@torch.no_grad()
def shift_logits(model: UniversalModel, offsets: Mapping[int, float]) -> None:
    """Add `offsets` to the logits of classes, by number; the logits of other classes stay the same up to rounding.

    Only one row of the generator changes, that of the last bias, by the smallest step along the task vectors.

    Raises:
        WeightsError: the generator is not the shared one, or two classes have the same task vector.
    """
    generator = model.generator
    if not isinstance(generator, SharedController):
        raise WeightsError("Expected the shared parameter generator: only there is one row the bias of all classes.")
    tasks = generator.task_vectors().double()
    wanted = torch.tensor([offsets.get(c, 0.0) for c in range(len(tasks))], dtype=torch.float64)
    step = torch.linalg.lstsq(tasks, wanted[:, None], driver="gelsd").solution[:, 0]
    if not torch.allclose(tasks @ step, wanted, atol=1e-3):
        raise WeightsError("The task vectors of some classes are the same: their logits cannot be shifted apart.")
    generator.controller.weight[-1, -len(step) :, 0, 0, 0] += step.float()


def _dice(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return dice_of_counts(*np.moveaxis(counts, -1, 0))

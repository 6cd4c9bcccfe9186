"""Binary cross-entropy and soft Dice per class, each class only where it is known (arXiv 2301.00785, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_SMOOTH_VOXELS = 1.0


def segmentation_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean BCE of the known classes + mean -log(soft Dice) of the present ones, a scalar.

    logits: [N, classes, V] float32. target, known: [N, classes, V] bool. Voxels where a class is unknown change
    neither its loss nor its gradient. Dice pools the windows. In the cross-entropy, the voxels of a class that fills a
    share s of what is known count 1 / sqrt(s) times, and Dice has a logarithm (arXiv 1809.00076): without these, small
    classes die out before they are learnt.
    """
    mask = known.float()
    truth = (target & known).float()
    voxels, size = mask.sum(dim=(0, 2)), truth.sum(dim=(0, 2))
    extra = (voxels / size.clamp_min(1)).sqrt() - 1
    entropy = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
    entropy = (entropy * (mask + truth * extra[:, None])).sum(dim=(0, 2)) / voxels.clamp_min(1)
    probability = torch.sigmoid(logits) * mask
    overlap = 2 * (probability * truth).sum(dim=(0, 2)) + _SMOOTH_VOXELS
    dice = -torch.log(overlap / (probability.sum(dim=(0, 2)) + size + _SMOOTH_VOXELS))
    return _mean(entropy, voxels > 0) + _mean(dice, size > 0)


def dice_counts(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Per class: overlap, predicted and true voxels where known, [classes, 3] float64; sums over batches add up."""
    guess = (logits > 0) & known
    truth = target & known
    return torch.stack([(guess & truth).sum((0, 2)), guess.sum((0, 2)), truth.sum((0, 2))], dim=1).double()


def _mean(values: Tensor, which: Tensor) -> Tensor:
    return torch.where(which, values, 0).sum() / which.sum().clamp_min(1)

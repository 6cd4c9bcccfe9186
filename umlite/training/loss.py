"""Binary cross-entropy and soft Dice per class, each class only where it is known (arXiv 2301.00785, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits [N, classes, V] float32, target and known [N, classes, V] bool) -> a scalar to minimise."""

_SMOOTH_VOXELS = 1.0
_TOLERATED_VOXELS = 30.0


def segmentation_loss(
    logits: Tensor, target: Tensor, known: Tensor, weights: Tensor | None = None, hosts: Tensor | None = None
) -> Tensor:
    """The `class_losses`, each averaged over the classes that it applies to, and added up: a scalar.

    With `weights` and `hosts` bound (`functools.partial`), it is a `Loss`.

    Args:
        logits: [N, classes, V] float32.
        target, known: [N, classes, V] bool.
        weights: [classes], of each class in the means; equal by default. The mean over absent classes stays
            unweighted, since more weight there would teach silence.
        hosts: bool [classes, classes]; row c marks the classes that class c grows in. Adds their `host_loss`.
    """
    losses, size, voxels = class_losses(logits, target, known)
    entropy, present, absent = losses
    weights = torch.ones_like(size) if weights is None else weights
    is_known, is_present = voxels > 0, size > 0
    total = (
        _mean(entropy, weights * is_known)
        + _mean(present, weights * is_present)
        + _mean(absent, (is_known & ~is_present).float())
    )
    return total if hosts is None else total + host_loss(logits, target, known, weights, hosts)


def host_loss(logits: Tensor, target: Tensor, known: Tensor, weights: Tensor, hosts: Tensor) -> Tensor:
    """The binary cross-entropy of every class that has hosts, over its hosts' voxels alone; their mean, a scalar.

    A lesion is hard to tell from its host only, and the host is a small part of a window. In a mean over the whole
    window, a few voxels of kidney taken for tumour cost next to nothing. Windows without the class count too, with
    weight 1; other arguments are those of `segmentation_loss`.
    """
    guests = hosts.any(dim=1)
    inside = (hosts[guests].float() @ (target & known).float()) > 0
    losses, size, voxels = class_losses(logits[:, guests], target[:, guests], known[:, guests] & inside)
    return _mean(losses[0], torch.where(size > 0, weights[guests], 1) * (voxels > 0))


def class_losses(logits: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three losses of each class, over all windows together. Voxels where a class is unknown have no influence.

    1. Binary cross-entropy. True voxels of a class that fills a share s of what is known and has a soft Dice D count
       1 + (1 - D)^3 (1 / s - 1) times: a class that is not found at all weighs as much as all the rest, however small
       it is, and one that is found is not drawn too large.
    2. -log(soft Dice) where the class is present (arXiv 1809.00076), else 0.
    3. log(1 + drawn / 30) where the class is absent, else 0: some drawn voxels are tolerated.

    "Drawn" is the sum of squared probabilities (arXiv 1606.04797), so that a low probability everywhere costs next to
    nothing. With plain sums, the many windows without a rare class drove its logits down to -9 everywhere, where Dice
    has no gradient left.

    Args:
        logits: [N, classes, V] float32.
        target, known: [N, classes, V] bool.

    Returns:
        The losses [3, classes], and how many voxels of each class are true and how many are known, [classes] each.
    """
    mask = known.float()
    truth = (target & known).float()
    voxels, size = mask.sum(dim=(0, 2)), truth.sum(dim=(0, 2))
    probability = torch.sigmoid(logits) * mask
    drawn = probability.square().sum(dim=(0, 2))
    overlap = 2 * (probability * truth).sum(dim=(0, 2)) + _SMOOTH_VOXELS
    dice = overlap / (drawn + size + _SMOOTH_VOXELS)
    extra = (1 - dice.detach()) ** 3 * ((voxels / size.clamp_min(1)).clamp_min(1) - 1)
    entropy = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
    entropy = (entropy * (mask + truth * extra[:, None])).sum(dim=(0, 2)) / voxels.clamp_min(1)
    present = torch.where(size > 0, -torch.log(dice), 0)
    absent = torch.where(size > 0, 0, torch.log1p(drawn / _TOLERATED_VOXELS))
    return torch.stack([entropy, present, absent]), size, voxels


def count_voxels(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Overlapping, predicted and true voxels of each class where it is known: [classes, 3] float64, summable."""
    guess = (logits > 0) & known
    truth = target & known
    return torch.stack([(guess & truth).sum((0, 2)), guess.sum((0, 2)), truth.sum((0, 2))], dim=1).double()


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp_min(torch.finfo(torch.float32).tiny)

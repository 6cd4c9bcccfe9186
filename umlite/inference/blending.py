"""The decision that blended logits lead to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from umlite.errors import WeightsError

Progress = Callable[[int, int], None]  # windows done, windows in all


def decide(sums: Tensor, names: Sequence[str]) -> Tensor:
    """A class is present where its weighted sum of logits is positive: the sigmoid's threshold of 0.5, as published.

    The sum of importances is positive everywhere, so neither the division nor the sigmoid changes the answer.

    sums: [classes, X, Y, Z] float32, any strides. names: of the classes; bit k belongs to names[k].
    Returns [X, Y, Z], int32 for up to 32 classes, int64 for more, on the same device.
    Raises WeightsError when a sum is not a number.
    """
    kind = torch.int64 if len(names) > 32 else torch.int32
    bits = torch.zeros(sums.shape[1:], dtype=kind, device=sums.device)
    for plane, target in zip(sums.unbind(1), bits.unbind(0), strict=True):  # a plane's temporaries stay in cache
        finite = plane.flatten(1).sum(1).isfinite()
        if not finite.all():
            name = names[int(finite.long().argmin())]
            raise WeightsError(f"The network answered NaN or infinity for {name}: these weights do not work.")
        for k, values in enumerate(plane):
            target |= (values > 0).to(kind) << k
    return bits


def no_progress(_done: int, _total: int) -> None:
    """Report nothing."""

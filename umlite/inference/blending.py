"""The blended logits of a volume, and the decision they lead to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from umlite.errors import WeightsError
from umlite.inference.bitmask import BitMask

Progress = Callable[[int, int], None]  # windows done, windows in all


@dataclass(frozen=True, eq=False)
class Blend:
    """Sums over windows: `weighted` logits times importance [classes, X, Y, Z], `importance()` alone [X, Y, Z].

    windows: how many ran.
    """

    weighted: Tensor
    importance: Callable[[], Tensor]
    windows: int

    def logits(self) -> Tensor:
        """[classes, X, Y, Z] float32: the importance-weighted mean over windows."""
        return self.weighted / self.importance()

    def decide(self, names: tuple[str, ...]) -> BitMask:
        """A class is present where its weighted sum is positive: the sigmoid's threshold of 0.5, as published.

        The sum of importances is positive everywhere, so neither the division nor the sigmoid changes the answer.
        Raises WeightsError when a sum is not a number.
        """
        wide = len(names) > 32
        kind = torch.int64 if wide else torch.int32
        bits = torch.zeros(self.weighted.shape[1:], dtype=kind, device=self.weighted.device)
        for k, name in enumerate(names):
            if not self.weighted[k].sum().isfinite():
                raise WeightsError(f"The network answered NaN or infinity for {name}: these weights do not work.")
            bits |= (self.weighted[k] > 0).to(kind) << k
        return BitMask(bits.cpu().numpy().view(np.uint64 if wide else np.uint32), names)


def no_progress(_done: int, _total: int) -> None:
    """Report nothing."""

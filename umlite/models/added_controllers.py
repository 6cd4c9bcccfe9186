"""Controllers of classes that were added to a trained network: nothing of it changes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from umlite.models.config import HeadConfig


class AddedControllers(nn.Module):
    """One linear map per added class, from the image vector to the parameters of its head.

    weight: [added, P, gap_width]. bias: [added, P]. Where a class has no need of the image, its weight is 0.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(config.added, config.parameters, config.gap_width))
        self.bias = nn.Parameter(torch.zeros(config.added, config.parameters))

    def forward(self, image: Tensor, classes: Sequence[int]) -> Tensor:
        """[N, gap_width] -> [N, classes, P]; classes count from the first added one."""
        return _linear(image, self.weight, self.bias, classes)


class FoldedWithAdded(nn.Module):
    """What `fold` returns when some of the requested classes were added.

    Args:
        own: the folded function of the network's own classes; None if none is requested.
        added: the controllers.
        classes: positions of the requested heads.
        first: position of the first added one.
    """

    weight: Tensor
    bias: Tensor
    order: Tensor

    def __init__(self, own: nn.Module | None, added: AddedControllers, classes: Sequence[int], first: int) -> None:
        super().__init__()
        some = [c - first for c in classes if c >= first]
        places = [i for i, c in enumerate(classes) if c < first] + [i for i, c in enumerate(classes) if c >= first]
        self.own = own
        self.register_buffer("weight", added.weight.detach()[some].contiguous())
        self.register_buffer("bias", added.bias.detach()[some])
        self.register_buffer("order", torch.tensor(places).argsort())

    def forward(self, image: Tensor) -> Tensor:
        made = _linear(image, self.weight, self.bias, range(len(self.bias)))
        if self.own is None:
            return made
        return torch.cat((self.own(image), made), dim=1)[:, self.order]


def _linear(image: Tensor, weight: Tensor, bias: Tensor, classes: Sequence[int]) -> Tensor:
    """One product per class: in a joint one, the last bits of a class would depend on the others."""
    return torch.stack([F.linear(image, weight[c], bias[c]) for c in classes], dim=1)

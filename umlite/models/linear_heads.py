"""Heads of one layer: a class's logit is a weighted sum of the head input's channels. No text, no image vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from umlite.models.config import HeadConfig


class LinearHeads(nn.Module):
    """Takes the place of a parameter generator: gives each requested class its K + 1 numbers, whatever the image."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.heads = nn.Conv3d(config.channels, config.classes, 1)

    def image_vector(self, bottleneck: Tensor) -> Tensor:
        """Nothing of the image is needed: [N, 0]."""
        return bottleneck.new_empty(len(bottleneck), 0)

    def forward(self, image: Tensor, classes: Sequence[int]) -> Tensor:
        """[N, 0] -> the weights and the bias of each class, [N, classes, K + 1]."""
        return self._rows(classes).expand(len(image), -1, -1)

    def fold(self, classes: Sequence[int]) -> nn.Module:
        """The function [N, 0] -> [N, classes, K + 1] of these classes."""
        return _Constant(self._rows(classes))

    def _rows(self, classes: Sequence[int]) -> Tensor:
        assert self.heads.bias is not None
        return torch.cat((self.heads.weight.flatten(1), self.heads.bias[:, None]), dim=1)[list(classes)]


class _Constant(nn.Module):
    rows: Tensor

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows.detach())  # [classes, K + 1]

    def forward(self, image: Tensor) -> Tensor:
        return self.rows.expand(len(image), -1, -1)

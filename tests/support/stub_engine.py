"""An engine without a network, for tests of what happens around the windows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from umlite.engines.engine import Engine
from umlite.engines.options import EngineOptions
from umlite.engines.setup import Setup
from umlite.models.config import HeadConfig, NetworkConfig, UNetConfig
from umlite.sweep.window_field import lay_out_windows
from umlite.weights.model_card import ModelCard
from umlite.windows import Size, total_importance


class StubEngine(Engine):
    """Class k answers each voxel of a window by a wave of the voxel's value, its place in the window and k.

    Windows that see a voxel differently disagree about it, as a network's do. seen: windows computed so far.
    """

    def __init__(self, window: Size, classes: int = 2, batch: int = 1) -> None:
        card = object.__new__(ModelCard)  # tests use windows that no network accepts
        names = tuple(f"class_{k}" for k in range(classes))
        network = NetworkConfig(UNetConfig(), HeadConfig(classes, embedding_width=8))
        fields = {"name": "stub", "network": network, "classes": names, "window": tuple(window)}
        for field, value in {**fields, "spacing_mm": (3.0, 3.0, 3.0)}.items():
            object.__setattr__(card, field, value)
        super().__init__(card, Setup(EngineOptions(batch=batch), torch.device("cpu")))
        place = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, side) for side in window], indexing="ij"))
        self._place = place.square().sum(0)
        self.seen = 0

    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        self.seen += len(windows)
        mean = windows.mean(dim=(1, 2, 3, 4), keepdim=True)
        waves = [torch.sin(7 * windows[:, 0] + mean[:, 0] + self._place + k) for k in classes]
        return torch.stack(waves, 1)

    def padded(self, voxels: Tensor) -> Tensor:
        return lay_out_windows(self, voxels, 0.5).voxels

    def field_shape(self, voxels: Tensor) -> Size:
        return lay_out_windows(self, voxels, 0.5).shape

    def starts(self, voxels: Tensor, overlap: float = 0.5) -> list[Size]:
        return lay_out_windows(self, voxels, overlap).starts

    def blended(self, sums: Tensor, voxels: Tensor) -> Tensor:
        """Sums over the padded volume as blended logits of the volume."""
        field = lay_out_windows(self, voxels, 0.5)
        return (sums / total_importance(field.shape, field.starts, self.importance))[:, *field.inside]


class Bright(StubEngine):
    """Class k is where the scan is brighter than 0.5, a little less sure near a window's border."""

    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        self.seen += len(windows)
        return torch.stack([20 * (windows[:, 0] - 0.5) - 0.3 * self._place for _ in classes], 1)


class Hidden(Bright):
    """What is very bright shows only near the middle of a window."""

    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        logits = super().window_logits(windows, classes)
        return torch.where((self._place > 0.3) & (windows[:, :1] > 0.8), torch.full_like(logits, -30.0), logits)

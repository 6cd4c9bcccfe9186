"""The oracle: plain torch in float32, one window after the other, nothing rearranged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from umlite.engines.engine import Engine
from umlite.engines.setup import Setup
from umlite.gpu import transfer
from umlite.gpu.precision import exact_float32
from umlite.models.universal import UniversalModel
from umlite.weights.model_card import ModelCard
from umlite.windows import Size, window_at


class ReferenceEngine(Engine):
    """The network exactly as it is defined. Its model must have been loaded with reference kernels."""

    def __init__(self, model: UniversalModel, card: ModelCard, setup: Setup) -> None:
        super().__init__(card, setup)
        self.model = transfer.module_to_device(model, setup.device)

    @torch.inference_mode()
    def window_features(self, window: Tensor) -> tuple[Tensor, Tensor]:
        feature, image = self.model.features(window[None, None].to(self.setup.device))
        return feature[0].float().cpu(), image[0].float().cpu()

    @torch.inference_mode()
    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        windows = transfer.to_device(windows, self.setup.device).to(torch.float32)
        with exact_float32():
            return torch.cat([self.model(window[None], classes) for window in windows])

    @torch.inference_mode()
    def add_logits(self, logits: Tensor, start: Size, sums: Tensor, origin: Size) -> None:
        x, y, z = (s - o for s, o in zip(start, origin, strict=True))
        sums[:, *window_at((x, y, z), self.card.window)] += logits * self.importance

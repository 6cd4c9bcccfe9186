"""The fast engine on torch operations alone: batches, merged upsampling, all requested heads in one operation."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from umlite.engines.compiling import compiled
from umlite.engines.engine import Engine
from umlite.engines.setup import Setup
from umlite.gpu import transfer
from umlite.gpu.precision import exact_float32
from umlite.models.merging import merge_upsampling
from umlite.models.universal import UniversalModel
from umlite.models.winograd import use_winograd
from umlite.weights.model_card import ModelCard


class TorchEngine(Engine):
    """Gives the reference's numbers up to rounding, faster, on any torch device.

    Its model must have been loaded with fast or torch kernels.
    """

    def __init__(self, model: UniversalModel, card: ModelCard, setup: Setup) -> None:
        super().__init__(card, setup)
        merge_upsampling(model.backbone)
        if setup.device.type == "cpu" and not setup.options.compile:
            use_winograd(model.backbone)
        self.model = transfer.module_to_device(model, setup.device)
        self._features = self.model.features
        self._batch = setup.options.batch or 1
        if setup.options.compile:
            self._features = compiled(self.model.features)
        self._folded = functools.lru_cache(maxsize=4)(self.model.generator.fold)

    @torch.inference_mode()
    def window_features(self, window: Tensor) -> tuple[Tensor, Tensor]:
        feature, image = self.model.features(window[None, None].to(self.setup.device))
        return feature[0].float().cpu(), image[0].float().cpu()

    @torch.inference_mode()
    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        windows = transfer.to_device(windows, self.setup.device).to(torch.float32)
        return torch.cat([self._batch_logits(part, classes) for part in windows.split(self._batch)])

    def _batch_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        count = len(windows)
        if self.setup.options.compile and count < self._batch:  # compiled for one shape: repeat the last window
            windows = torch.cat((windows, windows[-1:].expand(self._batch - count, -1, -1, -1, -1)))
        with exact_float32():
            head_input, image = self._features(windows)
            params = self._folded(tuple(classes))(image[:count])
            return self.model.kernels.dynamic_heads(head_input[:count], params)

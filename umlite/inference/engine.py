"""The two engines: a reference that is obviously right, and a fast one tested against it."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from umlite.inference.blending import Blend, Progress, no_progress
from umlite.inference.plan import Plan
from umlite.inference.windows import Size, importance_map, pad_to_window, total_importance, window_at, window_grid
from umlite.kernels.sets import FAST, REFERENCE
from umlite.models.universal import UniversalModel
from umlite.weights.loading import load_model
from umlite.weights.manifest import Manifest


class Engine(ABC):
    """A network on a device, applied to windows and to whole volumes. Results are float32 on the plan's device."""

    def __init__(self, model: UniversalModel, manifest: Manifest, plan: Plan) -> None:
        self.model = model.to(plan.device)
        self.manifest = manifest
        self.plan = plan

    @abstractmethod
    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        """[N, 1, D, H, W] float32 in [0, 1] -> [N, classes, D, H, W]; each window on its own."""

    @abstractmethod
    def blend(self, voxels: Tensor, classes: Sequence[int], overlap: float, progress: Progress = no_progress) -> Blend:
        """Windows over a volume [X, Y, Z] float32 in [0, 1], their logits blended by importance."""


class ReferenceEngine(Engine):
    """Plain torch, float32, one window after the other, nothing rearranged: the oracle."""

    @torch.inference_mode()
    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        windows = windows.to(self.plan.device, torch.float32)
        with torch.backends.cudnn.flags(allow_tf32=False):
            return torch.cat([self.model(window[None], classes) for window in windows])

    @torch.inference_mode()
    def blend(self, voxels: Tensor, classes: Sequence[int], overlap: float, progress: Progress = no_progress) -> Blend:
        window = self.manifest.window
        if not voxels.numel():
            return _empty_blend(voxels, len(classes))
        padded, inside = pad_to_window(voxels.to(self.plan.device), window)
        importance = importance_map(window).to(self.plan.device)
        weighted = torch.zeros(len(classes), *padded.shape, device=self.plan.device)
        total = torch.zeros(padded.shape, device=self.plan.device)
        starts = window_grid(_size(padded), window, overlap)
        for done, start in enumerate(starts):
            here = window_at(start, window)
            logits = self.window_logits(padded[here][None, None], classes)[0]
            weighted[:, *here] += logits * importance
            total[here] += importance
            progress(done + 1, len(starts))
        return Blend(weighted[:, *inside], lambda: total[inside], len(starts))


class FastEngine(Engine):
    """The same numbers up to rounding, faster: batches, constant halves folded, requested heads in one operation."""

    def __init__(self, model: UniversalModel, manifest: Manifest, plan: Plan) -> None:
        super().__init__(model, manifest, plan)
        self._features = self.model.features
        if plan.compile:
            self._features = torch.compile(self.model.features, fullgraph=True, dynamic=False)
        self._folded = functools.lru_cache(maxsize=4)(self._fold)

    def _fold(self, classes: tuple[int, ...]) -> nn.Module:
        return self.model.generator.fold(classes)

    @torch.inference_mode()
    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        windows = windows.to(self.plan.device, torch.float32)
        return torch.cat([self._batch_logits(part, classes) for part in windows.split(self.plan.batch)])

    def _batch_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        count = len(windows)
        if self.plan.compile and count < self.plan.batch:  # compiled for one shape: fill up with the last window
            windows = torch.cat((windows, windows[-1:].expand(self.plan.batch - count, -1, -1, -1, -1)))
        head_input, image = self._features(windows)
        params = self._folded(tuple(classes))(image[:count])
        return self.model.kernels.dynamic_heads(head_input[:count], params)

    @torch.inference_mode()
    def blend(self, voxels: Tensor, classes: Sequence[int], overlap: float, progress: Progress = no_progress) -> Blend:
        window = self.manifest.window
        if not voxels.numel():
            return _empty_blend(voxels, len(classes))
        padded, inside = pad_to_window(voxels.to(self.plan.device), window)
        importance = importance_map(window).to(self.plan.device)
        weighted = torch.zeros(len(classes), *padded.shape, device=self.plan.device)
        starts = window_grid(_size(padded), window, overlap)
        for first in range(0, len(starts), self.plan.batch):
            batch = [window_at(start, window) for start in starts[first : first + self.plan.batch]]
            logits = self._batch_logits(torch.stack([padded[here] for here in batch])[:, None], classes)
            for here, answer in zip(batch, logits, strict=True):
                weighted[:, *here].addcmul_(answer, importance)
            progress(first + len(batch), len(starts))
        return Blend(
            weighted[:, *inside],
            lambda: total_importance(_size(padded), starts, importance)[inside],
            len(starts),
        )


def build_engine(weights: Path, plan: Plan) -> Engine:
    """Load a weights file into the engine of a plan. Raises WeightsError as `load_model` does."""
    if plan.engine == "reference":
        return ReferenceEngine(*load_model(weights, REFERENCE), plan)
    return FastEngine(*load_model(weights, FAST), plan)


def _size(volume: Tensor) -> Size:
    x, y, z = volume.shape
    return x, y, z


def _empty_blend(voxels: Tensor, classes: int) -> Blend:
    return Blend(voxels.new_zeros(classes, *voxels.shape), lambda: voxels.new_zeros(voxels.shape), 0)

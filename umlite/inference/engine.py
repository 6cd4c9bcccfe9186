"""The two engines: a reference that is obviously right, and a fast one tested against it."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from umlite.inference.bitmask import Box
from umlite.inference.blending import Blend, Progress, no_progress
from umlite.inference.memory import check_memory
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
        self._importance = importance_map(manifest.window).to(plan.device)

    @abstractmethod
    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        """[N, 1, D, H, W] float32 in [0, 1] -> [N, classes, D, H, W]; each window on its own."""

    @abstractmethod
    def blend(self, voxels: Tensor, classes: Sequence[int], overlap: float, progress: Progress = no_progress) -> Blend:
        """Windows over a volume [X, Y, Z] float32 in [0, 1], their logits blended by importance.

        Raises DeviceError when the blended logits do not fit in memory.
        """

    def _lay_out(self, voxels: Tensor, classes: int, overlap: float) -> tuple[Tensor, Box, list[Size]]:
        """The volume padded to a window, where the original lies in it, and where its windows start."""
        padded, inside = pad_to_window(voxels.to(self.plan.device), self.manifest.window)
        wanted = 4 * (classes + 1) * padded.numel()
        check_memory(
            wanted, self.plan.device, f"Blending {classes} classes over {' x '.join(map(str, padded.shape))} voxels"
        )
        return padded, inside, window_grid(_size(padded), self.manifest.window, overlap)


class ReferenceEngine(Engine):
    """Plain torch, float32, one window after the other, nothing rearranged: the oracle."""

    @torch.inference_mode()
    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        windows = windows.to(self.plan.device, torch.float32)
        with exact_float32():
            return torch.cat([self.model(window[None], classes) for window in windows])

    @torch.inference_mode()
    def blend(self, voxels: Tensor, classes: Sequence[int], overlap: float, progress: Progress = no_progress) -> Blend:
        if not voxels.numel():
            return _empty_blend(voxels, len(classes))
        padded, inside, starts = self._lay_out(voxels, len(classes), overlap)
        weighted = torch.zeros(len(classes), *padded.shape, device=self.plan.device)
        total = torch.zeros(padded.shape, device=self.plan.device)
        for done, start in enumerate(starts, start=1):
            here = window_at(start, self.manifest.window)
            logits = self.window_logits(padded[here][None, None], classes)[0]
            weighted[:, *here] += logits * self._importance
            total[here] += self._importance
            progress(done, len(starts))
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
        with exact_float32():
            head_input, image = self._features(windows)
            params = self._folded(tuple(classes))(image[:count])
            return self.model.kernels.dynamic_heads(head_input[:count], params)

    @torch.inference_mode()
    def blend(self, voxels: Tensor, classes: Sequence[int], overlap: float, progress: Progress = no_progress) -> Blend:
        if not voxels.numel():
            return _empty_blend(voxels, len(classes))
        padded, inside, starts = self._lay_out(voxels, len(classes), overlap)
        weighted = torch.zeros(len(classes), *padded.shape, device=self.plan.device)
        for first in range(0, len(starts), self.plan.batch):
            batch = [window_at(start, self.manifest.window) for start in starts[first : first + self.plan.batch]]
            logits = self._batch_logits(torch.stack([padded[here] for here in batch])[:, None], classes)
            for here, answer in zip(batch, logits, strict=True):
                weighted[:, *here].addcmul_(answer, self._importance)
            progress(first + len(batch), len(starts))
        shape = _size(padded)
        return Blend(
            weighted[:, *inside], lambda: total_importance(shape, starts, self._importance)[inside], len(starts)
        )


def build_engine(weights: Path, plan: Plan) -> Engine:
    """Load a weights file into the engine of a plan. Raises WeightsError as `load_model` does."""
    if plan.engine == "reference":
        return ReferenceEngine(*load_model(weights, REFERENCE), plan)
    return FastEngine(*load_model(weights, FAST), plan)


@contextmanager
def exact_float32() -> Iterator[None]:
    """Float32 means float32: no TF32 in convolutions and matrix products, whatever the caller's settings."""
    products = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = products


def _size(volume: Tensor) -> Size:
    x, y, z = volume.shape
    return x, y, z


def _empty_blend(voxels: Tensor, classes: int) -> Blend:
    return Blend(voxels.new_zeros(classes, *voxels.shape), lambda: voxels.new_zeros(voxels.shape), 0)

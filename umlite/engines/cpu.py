"""The engine on a CPU: compiled C from the window to the scan's sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from umlite.cpu import buffers
from umlite.cpu.activation import Floats, Grid
from umlite.cpu.algorithms import layer_rows
from umlite.cpu.blend import blend
from umlite.cpu.heads import Heads
from umlite.cpu.network import NativeNetwork
from umlite.cpu.segresnet import NativeSegResNet
from umlite.cpu.swin_unetr import NativeSwinUNETR
from umlite.cpu.unet import NativeUNet
from umlite.engines.engine import Engine
from umlite.engines.setup import Setup
from umlite.machine.forks import ONE_IS_LEFT, lost_threads
from umlite.models.segresnet import SegResNet
from umlite.models.swin_unetr import SwinUNETR
from umlite.models.unet import UNet
from umlite.models.universal import UniversalModel
from umlite.progress import Notify, no_notice
from umlite.weights.model_card import ModelCard
from umlite.windows import Size, window_at

HALVINGS = 4
"""How often the limit of a layer's packed weights may be halved to save memory; each time is slower."""


class CpuEngine(Engine):
    """Gives the reference's numbers up to float32 rounding, about ten times faster, one window at a time.

    It keeps its memory for its lifetime. Several threads may call it; one of them computes at a time, since all windows
    go through the same memory. A forked child has one thread and memory of its own, which it takes with its first
    window.

    Args:
        model: loaded with any kernels. Its parameters are transformed and packed once, and kept in the cache folder.
        card: describes the weights.
        setup: threads and limits.
        notify: gets a sentence if something takes long or a fork has left one thread.
        reload: loads the model again. With it, the backbone's parameters are dropped once they are packed, to save
            memory, and loaded again if windows of another size come.

    Raises:
        CompilerError: the C kernels cannot be built.
    """

    def __init__(
        self,
        model: UniversalModel,
        card: ModelCard,
        setup: Setup,
        notify: Notify = no_notice,
        reload: Callable[[], UniversalModel] | None = None,
    ) -> None:
        setup = self._within(setup, model, card.window)
        super().__init__(card, setup)
        self._model = model
        self._notify, self._reload = notify, reload
        self._importance = self.importance.numpy()
        self._made: tuple[Grid, NativeNetwork, Heads] | None = None
        self._network(card.window)

    @torch.inference_mode()
    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        logits = torch.empty(len(windows), len(classes), *windows.shape[2:])
        with self.lock:
            network, heads = self._network((windows.shape[2], windows.shape[3], windows.shape[4]))
            for window, out in zip(windows, logits, strict=True):
                network.image[...] = window[0].numpy()
                network.run()
                heads.logits(classes, out.numpy())
        return logits

    @torch.inference_mode()
    def window_features(self, window: Tensor) -> tuple[Tensor, Tensor]:
        with self.lock:
            network, heads = self._network((window.shape[0], window.shape[1], window.shape[2]))
            network.image[...] = window.numpy()
            network.run()
            feature = np.empty((heads.inner, *window.shape), np.float32)
            heads.logits((0,), head_input=feature)
            return torch.from_numpy(feature), heads.image_vector()[0]

    @torch.inference_mode()
    def add_windows(
        self, volume: Tensor, starts: Sequence[Size], classes: Sequence[int], sums: Tensor, origin: Size
    ) -> None:
        with self.lock:
            network, heads = self._network(self.card.window)
            for start in starts:
                network.image[...] = volume[window_at(start, self.card.window)].numpy()
                network.run()
                heads.add(classes, self._part(sums, start, origin), self._importance)

    @torch.inference_mode()
    def add_logits(self, logits: Tensor, start: Size, sums: Tensor, origin: Size) -> None:
        part = self._part(sums, start, origin)
        with self.lock:
            self._heed_fork()
            blend(np.ascontiguousarray(logits.numpy()), self._importance, part, self.setup.threads)

    def layers(self) -> list[dict[str, str]]:
        with self.lock:
            return layer_rows(self._network(self.card.window)[0].net.choices)

    def step_seconds(self) -> dict[str, float]:
        with self.lock:
            return dict(self._made[1].net.seconds) if self._made else {}

    @staticmethod
    def _within(setup: Setup, model: UniversalModel, window: Grid) -> Setup:
        """The setup with the largest packed weights that leave half of the allowed memory, or else the smallest."""
        if setup.options.max_ram is None:
            return replace(setup, weight_limit_bytes=_kind(model).weight_limit_bytes)
        most = _kind(model).weight_limit_bytes
        limits = [most >> halvings for halvings in range(HALVINGS + 1)]
        sizes = {
            limit: _native(model, window, setup.threads, weight_limit_bytes=limit, count_only=True).net.bytes
            for limit in limits
        }
        fitting = [limit for limit in limits if 2 * sizes[limit] <= setup.options.max_ram]
        limit = fitting[0] if fitting else min(limits, key=lambda limit: sizes[limit])
        why = (
            f"packed weights of at most {limit >> 20} MB a layer: the network takes {sizes[limit] / 1e9:.2f} GB of the "
            f"{setup.options.max_ram / 1e9:.2f} GB allowed"
        )
        return replace(setup, weight_limit_bytes=limit, reasons=(*setup.reasons, why))

    def _part(self, sums: Tensor, start: Size, origin: Size) -> Floats:
        x, y, z = (s - o for s, o in zip(start, origin, strict=True))
        part: Floats = sums[:, *window_at((x, y, z), self.card.window)].numpy()
        return part

    def _network(self, window: Grid) -> tuple[NativeNetwork[Any], Heads]:
        """Layers and heads for a size of windows, made again when the size changes. Call and use it under the lock."""
        self._heed_fork()
        if self._made is None or self._made[0] != window:
            self._made = None
            if self._reload is not None and isinstance(self._model.backbone, nn.Identity):
                self._model = self._reload()
            limit = self.setup.weight_limit_bytes or _kind(self._model).weight_limit_bytes
            network = _native(self._model, window, self.setup.threads, weight_limit_bytes=limit, notify=self._notify)
            heads = Heads(self._model, network.feature, network.bottleneck, self.setup.threads)
            self._made = (window, network, heads)
            if self._reload is not None:
                self._model.backbone = nn.Identity()
                buffers.trim()
        return self._made[1:]

    def _heed_fork(self) -> None:
        """Continue with one thread if a fork has left no others."""
        if self.setup.threads > 1 and lost_threads():
            self._notify(f"Continuing with one thread: {ONE_IS_LEFT}.")
            reasons = (*self.setup.reasons, f"threads 1 from now on: {ONE_IS_LEFT}")
            options = replace(self.setup.options, threads=1)
            self.setup, self._made = replace(self.setup, options=options, reasons=reasons), None


NATIVE: dict[type[nn.Module], type[NativeNetwork[Any]]] = {
    UNet: NativeUNet,
    SwinUNETR: NativeSwinUNETR,
    SegResNet: NativeSegResNet,
}


def _kind(model: UniversalModel) -> type[NativeNetwork[Any]]:
    return NATIVE[type(model.backbone)]


def _native(model: UniversalModel, window: Grid, threads: int, **options: Any) -> NativeNetwork[Any]:
    return _kind(model)(model.backbone, window, threads, **options)

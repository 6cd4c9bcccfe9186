"""What every native backbone is made of and can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from torch import nn

from umlite.cpu.activation import Activation, Grid
from umlite.cpu.algorithms import WEIGHT_LIMIT_BYTES
from umlite.cpu.assembly import Assembly
from umlite.machine.processor import Machine
from umlite.progress import Notify, no_notice

Backbone = TypeVar("Backbone", bound=nn.Module)


class NativeNetwork(ABC, Generic[Backbone]):
    """A backbone's kernels and memory for windows of one size; the torch module is not needed afterwards.

    `run` reads `image`, [D, H, W] float32 in [0, 1], and rewrites `feature` and `bottleneck`, channels last.

    Args:
        model: its parameters are packed.
        window: (D, H, W), multiples of `window_multiple`.
        threads: threads of every layer.
        weight_limit_bytes: see `Assembly`. By default that of the class.
        keep, notify, count_only: see `Assembly`.

    Raises:
        CompilerError: the kernels cannot be built.
        ValueError: another kind of window.
    """

    window_multiple: ClassVar[int]
    weight_limit_bytes: ClassVar[int] = WEIGHT_LIMIT_BYTES
    """Default limit of a layer."""

    def __init__(
        self,
        model: Backbone,
        window: Grid,
        threads: int,
        *,
        weight_limit_bytes: int | None = None,
        keep: bool = True,
        notify: Notify = no_notice,
        count_only: bool = False,
    ) -> None:
        if any(side < self.window_multiple or side % self.window_multiple for side in window):
            raise ValueError(f"Expected window sides that are multiples of {self.window_multiple}, found {window}.")
        self.net = Assembly(
            Machine.here(threads),
            weight_limit_bytes=self.weight_limit_bytes if weight_limit_bytes is None else weight_limit_bytes,
            keep=keep,
            notify=notify,
            count_only=count_only,
        )
        self.image = self.net.allot(*window)
        self.feature, self.bottleneck = self._lay_out(model, window)
        self.net.prepare()

    @abstractmethod
    def _lay_out(self, model: Backbone, window: Grid) -> tuple[Activation, Activation]:
        """Declare all layers, from `image` to feature and bottleneck."""

    def run(self) -> None:
        """Compute one window, from `image` to `feature` and `bottleneck`."""
        self.net.run()

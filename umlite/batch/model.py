"""Weights and options of a run. What decides about resuming is known without torch, and long before the network is."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from umlite.class_table import ClassTable
from umlite.engines.options import EngineOptions
from umlite.files import kept_sha256
from umlite.machine.gpus import may_have_gpu
from umlite.weights.loading import read_card
from umlite.weights.model_card import ModelCard
from umlite.weights.store import resolve

if TYPE_CHECKING:
    from umlite.api import Segmenter


class Model:
    """Weights with options; the network is loaded when the first scan needs it.

    Args:
        weights: an installed name, a .safetensors file, or None if exactly one is installed.
        options: how to compute.
        load: loads the segmenter of them.
        packs: files of added classes.

    Raises:
        WeightsError: there are no such weights, or they are damaged.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None,
        options: EngineOptions,
        load: Callable[[], Segmenter],
        *,
        packs: Sequence[Path] = (),
    ) -> None:
        self.options, self._load = options, load
        self.path: Path = resolve(weights)
        self.packs = tuple(packs)
        self.card: ModelCard = read_card(self.path, self.packs)
        self.classes = ClassTable(self.card.classes)

    @classmethod
    def of(cls, segmenter: Segmenter) -> Model:
        """That of a segmenter that is loaded already."""
        return cls(segmenter.weights_path, segmenter.setup.options, lambda: segmenter, packs=segmenter.packs)

    @functools.cached_property
    def segmenter(self) -> Segmenter:
        """The segmenter, loaded when this is first read. Raises UmliteError as it does."""
        return self._load()

    @property
    def engine(self) -> dict[str, str]:
        """Engine and device: those that run if the network was loaded, else those that were asked for."""
        loaded = self.__dict__.get("segmenter")
        options = self.options if loaded is None else loaded.setup.options
        return {"engine": options.engine, "device": options.device}

    @functools.cached_property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of the weights' file and of each pack."""
        return tuple(kept_sha256(path) for path in (self.path, *self.packs))

    @functools.cached_property
    def precision(self) -> str:
        """The precision that the engine will have, which results depend on. Asks torch only where a GPU may be."""
        asked = self.options
        if asked.precision != "auto":
            return asked.precision
        on_gpu = may_have_gpu() if asked.device == "auto" else asked.device.startswith("cuda")
        if asked.engine == "reference" or not on_gpu:
            return "float32"
        from umlite.engines.setup import choose_setup

        return choose_setup(asked).options.precision

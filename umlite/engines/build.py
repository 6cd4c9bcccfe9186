"""Builds the engine that a setup asks for from a weights file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from umlite.engines.engine import Engine
from umlite.engines.setup import Setup
from umlite.kernels.implementations import FAST, REFERENCE, TORCH
from umlite.progress import Notify, no_notice
from umlite.weights.loading import load_model


def build_engine(weights: Path, setup: Setup, notify: Notify = no_notice, packs: Sequence[Path] = ()) -> Engine:
    """Load a weights file into the engine of a setup.

    Args:
        weights: the file.
        setup: device, kernels and everything else that was chosen.
        notify: gets a sentence if loading takes long, as on the first use of these weights, and later whenever a GPU's
            memory does not hold what was planned.
        packs: files of classes that are added to the network.

    Raises:
        WeightsError: the file is missing, damaged or does not fit the network.
    """
    if setup.options.engine == "reference":
        from umlite.engines.reference import ReferenceEngine

        return ReferenceEngine(*load_model(weights, REFERENCE, packs), setup)
    triton_free = setup.options.kernels == "torch" and setup.device.type == "cuda"
    model, card = load_model(weights, TORCH if triton_free else FAST, packs)
    if setup.options.kernels == "native" and setup.device.type == "cpu":
        from umlite.engines.cpu import CpuEngine

        return CpuEngine(model, card, setup, notify, reload=lambda: load_model(weights, FAST, packs)[0])
    if setup.options.kernels == "native":
        from umlite.engines.cuda import CudaEngine

        return CudaEngine(model, card, setup, notify)
    from umlite.engines.torch import TorchEngine

    return TorchEngine(model, card, setup)

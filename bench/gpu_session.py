"""What the parts of the GPU benchmark share: the device, the networks' weights, engines on that device."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from bench.gpu_device import CudaDevice, Device, RehearsalDevice
from bench.recipe import SEED, fill, recipe_weights, sample_window
from umlite import Segmenter
from umlite.checks.reference_network import load_reference
from umlite.classes import PUBLISHED
from umlite.engines.build import build_engine
from umlite.engines.cuda import CudaEngine
from umlite.engines.engine import Engine
from umlite.engines.options import EngineOptions
from umlite.engines.setup import Setup, choose_setup
from umlite.kernels.implementations import FAST
from umlite.models.config import HeadConfig, NetworkConfig, SwinUNETRConfig, UNetConfig
from umlite.models.universal import UniversalModel
from umlite.weights.loading import load_model, read_card, save_model
from umlite.weights.model_card import ModelCard

BACKBONES = ("unet", "swin_unetr")
NARROW = {
    "unet": (UNetConfig(channels=(16, 16, 16, 16)), (16, 16, 16)),
    "swin_unetr": (SwinUNETRConfig(feature_size=12, depths=(1, 1, 1, 1), attention_window=3), (64, 64, 32)),
}
"""Networks of a rehearsal, and their windows: small, and norms still have a few voxels."""


@dataclass(frozen=True)
class Asked:
    """What the command line asked for.

    Args:
        device: "cuda" or "cuda:1", say.
        weights: a weights file; None for both published networks with random weights.
        scan: a scan; None for a phantom.
        rehearse: whether a CPU stands for the GPU, with narrow networks.
        repeats: measured launches.
    """

    device: str = "cuda"
    weights: Path | None = None
    scan: Path | None = None
    rehearse: bool = False
    repeats: int = 20


class Session:
    """One process's way to the device. Making it raises where there is no such device."""

    def __init__(self, asked: Asked, gpu: Device | None = None) -> None:
        self.asked = asked
        self.gpu = gpu or (RehearsalDevice() if asked.rehearse else CudaDevice(torch.device(asked.device)))
        self.side = 16 if asked.rehearse else 96  # of the window in kernel cases

    @cached_property
    def weights(self) -> dict[str, Path]:
        """Weights files by the name that their rows have."""
        if self.asked.weights is not None:
            return {self.asked.weights.stem: self.asked.weights}
        return {name: narrow(name) if self.asked.rehearse else recipe_weights(name) for name in BACKBONES}

    def precisions(self, network: str) -> tuple[str, ...]:
        """What windows are checked in. The Swin UNETR of a rehearsal is too narrow for the tolerances of float16."""
        return ("float32",) if self.asked.rehearse and network == "swin_unetr" else ("float32", "float16")

    def engine(self, weights: Path, precision: str = "auto", batch: int | None = None) -> Engine:
        """The fast engine on the device, with kernels of ours or not at all."""
        if self.asked.rehearse:
            return CudaEngine(*load_model(weights, FAST), self._rehearsed(precision, batch))
        options = EngineOptions(device=self.asked.device, kernels="native", precision=precision, batch=batch)
        return build_engine(weights, choose_setup(options), print)

    def segmenter(self, weights: Path) -> Segmenter:
        """What a user would have."""
        return Segmenter(weights, EngineOptions(device="cpu" if self.asked.rehearse else self.asked.device))

    def reference(self, weights: Path) -> Callable[[Tensor], Tensor]:
        """The reference pipeline's network. Raises RequestError for a Swin UNETR without MONAI."""
        return load_reference(weights, self.gpu.device)[0]

    def compiled(self, network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """The network through torch.compile; itself in a rehearsal, which need not wait for a compiler."""
        return network if self.asked.rehearse else torch.compile(network)

    def window(self, engine: Engine, count: int = 1) -> Tensor:
        """[count, 1, D, H, W] on the device, of the engine's window."""
        sides = engine.card.window
        windows = [sample_window(max(sides), seed)[..., : sides[0], : sides[1], : sides[2]] for seed in range(count)]
        return torch.cat(windows).to(self.gpu.device)

    @staticmethod
    def _rehearsed(precision: str, batch: int | None) -> Setup:
        chosen = "float32" if precision == "auto" else precision
        options = EngineOptions(device="cpu", kernels="native", precision=chosen, batch=batch or 2)
        return Setup(options, torch.device("cpu"), ())


def narrow(name: str) -> Path:
    """Weights of a network of a rehearsal: made once, then reused."""
    backbone, window = NARROW[name]
    names = tuple(c.name for c in PUBLISHED[:11])  # up to the pancreas, which a request names
    path = Path(tempfile.gettempdir()) / "umlite-bench" / f"rehearsal_{name}.safetensors"
    model = UniversalModel(NetworkConfig(backbone, HeadConfig(len(names), groups=4))).eval().requires_grad_(False)
    if not path.exists() or read_card(path).network != model.config:
        fill(model, SEED)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(path, model.state_dict(), ModelCard(name, model.config, names, (16.0, 16.0, 16.0), window=window))
    return path

"""Full-size weights from a seed: the published sizes, random values of a sane scale, the same on every machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from umlite.classes import PUBLISHED
from umlite.models.config import HeadConfig, NetworkConfig, SegResNetConfig, SwinUNETRConfig, UNetConfig
from umlite.models.universal import UniversalModel
from umlite.weights.loading import read_card, save_model
from umlite.weights.model_card import ModelCard

SEED = 0
ORGANS = 25  # classes of a SegResNet
FULL = {"unet": UNetConfig(), "swin_unetr": SwinUNETRConfig(), "segresnet": SegResNetConfig()}
QUICK = {
    "unet": UNetConfig(channels=(16, 16, 32, 32)),
    "swin_unetr": SwinUNETRConfig(feature_size=24, depths=(1, 1, 1, 1), attention_window=3),
    "segresnet": SegResNetConfig(blocks_down=(1, 1, 1, 1)),
}
QUICK_WINDOW = {"unet": 32, "swin_unetr": 64, "segresnet": 32}


def recipe_weights(backbone: str, *, quick: bool = False, folder: Path | None = None) -> Path:
    """A weights file of the recipe: made once in `folder` (the system's temporary one by default), then reused.

    backbone: "unet", "swin_unetr" or "segresnet". quick: a narrow network with a small window, to try the benchmarks.
    """
    name = f"recipe_{backbone}{'_quick' if quick else ''}"
    path = (folder or Path(tempfile.gettempdir()) / "umlite-bench") / f"{name}.safetensors"
    config = _config(backbone, quick=quick)
    if path.exists() and read_card(path).network == config:
        return path
    model = UniversalModel(config).eval().requires_grad_(False)
    fill(model, SEED)
    side = QUICK_WINDOW[backbone] if quick else 96
    spacing = (4.0, 4.0, 4.0) if quick else (1.5, 1.5, 1.5)
    names = tuple(c.name for c in PUBLISHED[: config.head.classes])
    card = ModelCard(name, config, names, spacing, window=(side, side, side))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, model.state_dict(), card)
    return path


def _config(backbone: str, *, quick: bool) -> NetworkConfig:
    sizes = (QUICK if quick else FULL)[backbone]
    if isinstance(sizes, SegResNetConfig):
        return NetworkConfig(sizes, HeadConfig.linear(ORGANS, sizes.filters, sizes.groups))
    return NetworkConfig(sizes, HeadConfig(len(PUBLISHED), groups=8 if quick else 16))


def fill(model: torch.nn.Module, seed: int) -> None:
    """Give every tensor seeded normal values that keep activations near 1, so that logits take both signs."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("relative_position_bias_table"):
            tensor.normal_(0, 0.5, generator=generator)
        elif name.endswith("embedding"):
            tensor.normal_(0, 0.4, generator=generator)
        elif tensor.ndim > 1:
            # A transposed convolution [in, out, k, k, k] of stride k adds up over its inputs alone.
            fan_in = tensor.shape[0] if "up_conv" in name or "transp_conv" in name else tensor[0].numel()
            tensor.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        elif name.endswith("weight"):
            tensor.normal_(1, 0.1, generator=generator)
        else:
            tensor.normal_(0, 0.1, generator=generator)


def sample_window(side: int, seed: int = SEED) -> torch.Tensor:
    """[1, 1, side, side, side] float32 in [0, 1]: smooth shapes with noise."""
    generator = torch.Generator().manual_seed(seed + 1)
    coarse = torch.rand(1, 1, 12, 12, 12, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(side,) * 3, mode="trilinear")
    noise = torch.randn(smooth.shape, generator=generator)
    return (1.6 * smooth - 0.3 + 0.05 * noise).clamp(0, 1)

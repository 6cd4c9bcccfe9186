"""Small networks, checkpoints and scans that tests are made with."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import torch

from umlite.classes import PUBLISHED
from umlite.models.config import HeadConfig, NetworkConfig, SegResNetConfig, SwinUNETRConfig, UNetConfig
from umlite.models.universal import UniversalModel
from umlite.weights.model_card import ModelCard

SMALL_UNET = UNetConfig(channels=(16, 16, 32, 32))
SMALL_SWIN = SwinUNETRConfig(feature_size=16, heads=(2, 2, 4, 4), attention_window=3)
SMALL_SEGRESNET = SegResNetConfig(blocks_down=(1, 2, 1, 1), blocks_up=(1, 1, 2))
WIDTHS = {
    "shared": {"task_width": 20, "hidden_width": 0},
    "embedding": {"task_width": 24, "hidden_width": 0},
    "per_class": {"task_width": 0, "hidden_width": 20},
}

KINDS = [
    ("unet", "shared"),
    ("unet", "embedding"),
    ("unet", "per_class"),
    ("swin_unetr", "shared"),
    ("segresnet", "linear"),
]
"""Backbones and what gives their heads their parameters, as `small_model` takes them."""


def small_model(backbone: str = "unet", generator: str = "shared", classes: int = 32, seed: int = 0) -> UniversalModel:
    """A narrow network with random weights whose logits take both signs."""
    if backbone == "segresnet":
        config = NetworkConfig(SMALL_SEGRESNET, HeadConfig.linear(classes, SMALL_SEGRESNET.filters))
    else:
        config = NetworkConfig(
            SMALL_UNET if backbone == "unet" else SMALL_SWIN,
            HeadConfig(classes, generator, embedding_width=24, gap_width=32, **WIDTHS[generator]),
        )
    torch.manual_seed(seed)
    model = UniversalModel(config)
    for name, tensor in model.state_dict().items():
        if tensor.ndim > 1 or "embedding" in name:
            fan_in = tensor[0].numel() if tensor.ndim > 1 else 1
            tensor.normal_(std=(2 / fan_in) ** 0.5 if "embedding" not in name else 0.5)
        elif name.endswith("bias"):
            tensor.normal_(std=0.1)
    return model.eval().requires_grad_(False)


def small_card(model: UniversalModel, **changes: object) -> ModelCard:
    """Published class names, coarse spacing and the smallest useful window."""
    count = model.config.head.classes
    names = tuple(PUBLISHED[i].name if i < len(PUBLISHED) else f"extra_{i + 1}" for i in range(count))
    side = 64 if isinstance(model.config.backbone, SwinUNETRConfig) else 16
    names = changes.pop("classes", names)  # type: ignore[assignment]
    fields = {"spacing_mm": (4.0, 4.0, 4.0), "window": (side,) * 3, "license": "Apache-2.0", **changes}
    return ModelCard("small", model.config, names, **fields)  # type: ignore[arg-type]


def make_scan(shape: tuple[int, int, int] = (40, 36, 30), spacing: float = 4.0, seed: int = 0) -> nib.Nifti1Image:
    """Smooth random HU in a box of air, RAS, int16."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(size=(1, 1, 5, 5, 5)))
    smooth = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear")[0, 0].numpy()
    hu = 40 + 150 * smooth
    border = np.ones(shape, bool)
    border[tuple(slice(2, -2) if n > 8 else slice(None) for n in shape)] = False
    hu[border] = -1000
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = (-70, -60, 20)
    return nib.Nifti1Image(hu.astype(np.int16), affine)


def published_state(model: UniversalModel, prefix: str = "module.") -> dict[str, torch.Tensor]:
    """The model's tensors under the published names, with the entries that the network does not use."""
    ours = {
        "generator.embedding": "organ_embedding",
        "generator.gap.": "GAP.",
        "generator.controller.": "controller.",
        "generator.controllers.": "controllers.",
        "generator.text_to_vision.": "text_to_vision.",
        "head_input.": "precls_conv.",
    }
    if isinstance(model.config.backbone, SegResNetConfig):
        ours = {"head_input.0.": "conv_final.0.", "generator.heads.": "conv_final.2.conv."}
    state = {}
    for name, tensor in model.state_dict().items():
        for mine, published in ours.items():
            if name.startswith(mine):
                name = published + name[len(mine) :]
        if not isinstance(model.config.backbone, UNetConfig):
            name = name.removeprefix("backbone.")
        state[prefix + name] = tensor.clone()
        if name.endswith("bn1.bias"):
            stem = prefix + name.removesuffix("bias")
            state[stem + "running_mean"] = torch.zeros_like(tensor)
            state[stem + "running_var"] = torch.ones_like(tensor)
            state[stem + "num_batches_tracked"] = torch.tensor(7)
    return state

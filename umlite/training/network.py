"""The network in training: heads that differentiate, a start that suits rare classes, and its average."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from umlite.errors import RequestError
from umlite.kernels.dynamic_heads import split_parameters
from umlite.models.config import NetworkConfig
from umlite.models.parameter_generator import SharedController
from umlite.models.unet import UNet
from umlite.models.universal import UniversalModel
from umlite.training import native

Place = tuple[slice, ...]
Logits = tuple[Tensor, Tensor | None, Tensor | None]

_RARE_LOGIT = -3.0
_SMALLEST_SIDE = 24


def untrained_model(config: NetworkConfig, embedding: Tensor) -> UniversalModel:
    """A network with random weights (torch's generator) whose heads begin by finding nothing.

    Args:
        config: of a network with the shared parameter generator.
        embedding: text features [classes, width], unit vectors; training does not change them.

    Raises:
        RequestError: another generator, or an embedding that does not fit.
    """
    expected = [config.head.classes, config.head.embedding_width]
    if config.head.generator != "shared" or list(embedding.shape) != expected:
        raise RequestError(
            f"Expected a shared generator and an embedding of {expected} numbers, found the generator "
            f"{config.head.generator} and {list(embedding.shape)}."
        )
    model = UniversalModel(config)
    generator = cast(SharedController, model.generator)
    with torch.no_grad():
        generator.embedding.copy_(embedding)
        nn.init.normal_(generator.text_to_vision.weight)  # of unit rows makes numbers near 1: classes differ at once
        cast(Tensor, generator.controller.bias)[-1] = _RARE_LOGIT  # bias of the heads: most voxels belong to no class
    return model


class Supervision(nn.Module):
    """Linear heads on the backbone's two outputs, for training only: `fine` at full resolution, `coarse` at an eighth.

    They teach the backbone directly what the generated heads, which learn slowly, will need.
    """

    def __init__(self, model: UniversalModel) -> None:
        super().__init__()
        backbone, classes = model.config.backbone, model.config.head.classes
        self.coarse = nn.Conv3d(backbone.bottleneck_channels, classes, 1)
        self.fine = nn.Conv3d(backbone.feature_channels, classes, 1)
        for layer in (self.coarse, self.fine):
            nn.init.constant_(layer.bias, _RARE_LOGIT)  # type: ignore[arg-type]


def window_logits(model: UniversalModel, voxels: Tensor, at: Place, supervision: Supervision | None = None) -> Logits:
    """Differentiable logits at some voxels of windows.

    A U-Net on a CPU runs on the native kernels in float32. Others run in bf16 where the processor has it; where it does
    not, torch would emulate bf16 about thirty times slower than float32.

    Args:
        model: in training mode or not; its window norms are the same in both.
        voxels: [N, 1, D, H, W] float32 in [0, 1].
        at: an index into [D, H, W] that picks V voxels.
        supervision: linear heads to evaluate as well.

    Returns:
        Logits [N, classes, V] float32, then those of `supervision.fine` at the same voxels and of `supervision.coarse`
        at all voxels of the bottleneck (None without supervision).

    Raises:
        RequestError: a window smaller than 24^3. On a bottleneck of 2^3 voxels, bf16 convolutions of torch 2.13 on a
            CPU compute gradients of their weights from memory that nothing wrote.
    """
    if min(voxels.shape[2:]) < _SMALLEST_SIDE:
        raise RequestError(f"Expected training windows of at least {_SMALLEST_SIDE}^3, found {list(voxels.shape)}.")
    backbone = _backbone(model, voxels)
    half = backbone is model.backbone and has_bfloat16(voxels.device)
    with torch.autocast(voxels.device.type, torch.bfloat16, enabled=half):
        bottleneck, feature = backbone(voxels)
        some = feature[(slice(None), slice(None), *at)]
        head_input = model.head_input[1:](model.head_input[0](feature)[(slice(None), slice(None), *at)])
        image = model.generator.image_vector(bottleneck)
    params = model.generator(image.float(), range(model.config.head.classes))
    heads = native.dynamic_heads if _native(voxels) and head_input.shape[1] == native.INNER else dynamic_heads_batched
    logits = heads(head_input.flatten(2).float(), params)
    if supervision is None:
        return logits, None, None
    return logits, supervision.fine(some.float()).flatten(2), supervision.coarse(bottleneck.float()).flatten(2)


def _backbone(model: UniversalModel, voxels: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The native kernels for one window of a U-Net on a CPU, else the model's own backbone."""
    network = model.backbone
    fits = len(voxels) == 1 and all(n % 8 == 0 for n in voxels.shape[2:])
    return partial(native.unet, network) if isinstance(network, UNet) and fits and _native(voxels) else network


def _native(voxels: Tensor) -> bool:
    return voxels.device.type == "cpu" and voxels.dtype == torch.float32 and native.available()


def dynamic_heads_batched(h: Tensor, params: Tensor) -> Tensor:
    """`umlite.kernels.dynamic_heads` as three differentiable matrix products over all classes.

    Args:
        h: head input [N, K, V].
        params: [N, classes, 2*K*K + 3*K + 1].

    Returns:
        Logits [N, classes, V].
    """
    n, k, _ = h.shape
    classes = params.shape[1]
    w1, w2, w3, b1, b2, b3 = split_parameters(params.contiguous(), k)
    y = torch.baddbmm(b1.reshape(n, classes * k, 1), w1.reshape(n, classes * k, k), h).relu()
    y = torch.baddbmm(b2.reshape(n * classes, k, 1), w2.reshape(n * classes, k, k), y.view(n * classes, k, -1)).relu()
    y = torch.baddbmm(b3.reshape(n * classes, 1, 1), w3.reshape(n * classes, 1, k), y)
    return y.view(n, classes, -1)


def has_bfloat16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 are fast on the device; on a CPU they need AVX-512 at least."""
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Average:
    """Exponential moving average of a model's parameters; short at first, so that the start is forgotten.

    Args:
        model: its parameters are the first average.
        decay: weight of the average so far, once training is under way.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            self.tensors[name].lerp_(tensor, 1 - decay)

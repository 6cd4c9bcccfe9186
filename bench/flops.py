"""How many floating-point operations the published network makes, and how many a second this machine reaches."""

from __future__ import annotations

import time

import torch

from umlite.checks.reference_network import grouped_heads
from umlite.gpu.precision import exact_float32
from umlite.gpu.transfer import synchronise
from umlite.models.config import NetworkConfig
from umlite.models.linear_heads import LinearHeads
from umlite.models.universal import UniversalModel
from umlite.windows import Size


def published_operations(config: NetworkConfig, window: Size) -> dict[str, int]:
    """Multiplications and additions of one window, convolutions and matrix products alone: backbone and heads.

    Counted by torch's FlopCounterMode on shapes, nothing is computed. With 32 classes the published sizes need 1657
    GFLOP (U-Net) and 642 GFLOP (Swin UNETR), a SegResNet of 25 classes 123 GFLOP.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.inference_mode():
        model = UniversalModel(config).eval()
        with FlopCounterMode(display=False) as backbone:
            bottleneck, feature = model.backbone(torch.empty(1, 1, *window))
        with FlopCounterMode(display=False) as heads:
            model.generator.image_vector(bottleneck)
            head_input = model.head_input(feature)
            if isinstance(model.generator, LinearHeads):
                model.generator.heads(head_input)
            else:
                grouped_heads(head_input, torch.empty(config.head.classes, config.head.parameters))
    return {"backbone": backbone.get_total_flops(), "heads": heads.get_total_flops()}


def matrix_product_peak(device: torch.device | str = "cpu", side: int = 2048, repeats: int = 7) -> float:
    """Operations a second of a float32 matrix product [side, side] on the device, TF32 off: the best of `repeats`.

    What a direct convolution cannot exceed.
    """
    device = torch.device(device)
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    out = torch.empty_like(a)
    seconds = []
    with exact_float32():
        for _ in range(repeats + 2):
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            synchronise(device)
            seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds[2:])

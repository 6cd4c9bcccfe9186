"""Random layers for the tests of the CPU kernels, and the same computed by torch in float64."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from umlite.cpu.activation import Activation, padded
from umlite.cpu.assembly import Assembly
from umlite.machine.processor import Machine


def assembly(threads: int = 1, **options) -> Assembly:
    return Assembly(Machine(threads), keep=False, **options)


def random_activation(
    rng: np.random.Generator, grid, channels: int, *, slope: float = 0.0, residual: str = "none"
) -> Activation:
    """Raw data with everything pending. residual: none, tensor or shared (one channel)."""
    made = Activation.plain(np.zeros((*grid, padded(channels)), np.float32), channels)
    made.data[..., :channels] = rng.standard_normal((*grid, channels))
    made.scale[:channels], made.shift[:channels] = rng.standard_normal((2, channels))
    made.slope = slope
    if residual != "none":
        more = random_activation(rng, grid, channels, slope=1.0)
        if residual == "shared":
            more.data = np.ascontiguousarray(more.data[..., :1])
        made.residual = more
    return made


def values64(activation: Activation) -> torch.Tensor:
    """[1, C, D, H, W] float64 of what readers see."""
    total = activation.data.astype(np.float64) * activation.scale + activation.shift
    if (more := activation.residual) is not None:
        total = total + more.data.astype(np.float64) * more.scale + more.shift
    total = np.where(total > 0, total, activation.slope * total)[..., : activation.channels]
    return channels_first(total)


def channels_first(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).double().permute(3, 0, 1, 2)[None]


def raw64(activation: Activation) -> torch.Tensor:
    """[1, C, D, H, W] float64 of the data as stored."""
    return channels_first(activation.data[..., : activation.channels])


def conv64(x: torch.Tensor, weight: np.ndarray) -> torch.Tensor:
    return F.conv3d(x, torch.from_numpy(weight).double(), padding=weight.shape[2] // 2)


def up64(x: torch.Tensor, transposed: np.ndarray, bias: np.ndarray | None = None) -> torch.Tensor:
    offset = None if bias is None else torch.from_numpy(bias).double()
    return F.conv_transpose3d(x, torch.from_numpy(transposed).double(), offset, stride=2)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The worst difference over the root mean square, or as it is where only rounding of float64 is expected."""
    spread, worst = float(expected.square().mean().sqrt()), float((found - expected).abs().max())
    return worst / spread if spread > 1e-12 else worst


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

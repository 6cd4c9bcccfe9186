"""A U-Net that differentiates on a CPU through the convolution kernels of inference: some two times faster than torch.

Tensors are [D, H, W, channels], channels rounded up to whole lines (`umlite.cpu.activation.LINE`), float32. A layer is
convolution 3^3 (mostly by Winograd's algorithm), window norm and ReLU in one; a bias before a norm cancels and is left
out.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import tempfile
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from umlite.cpu import compiler
from umlite.cpu.activation import LINE, Activation, Floats, padded
from umlite.cpu.convolution import Convolution
from umlite.cpu.machine import Machine
from umlite.cpu.packing import pack, plain_kernels
from umlite.cpu.plan import Shape, choose
from umlite.models.unet import ConvNormReLU, Down, UNet, Up

_SOURCE = Path(__file__).with_name("source") / "backward.c"
_NATIVE = "-march=native" if platform.machine().lower() in ("x86_64", "amd64", "i686") else "-mcpu=native"
_EPS = 1e-5
_own = threading.local()


def available() -> bool:
    """Whether a C compiler is there; the first call builds the kernels, in about a second."""
    try:
        _library()
    except compiler.CompilerError:
        return False
    return True


def unet(network: UNet, voxels: Tensor) -> tuple[Tensor, Tensor]:
    """What `network(voxels)` computes, with gradients of all its parameters, none of the voxels.

    voxels: [1, 1, D, H, W] float32, D, H and W multiples of 8. Returns bottleneck and feature, channels last in memory.
    Biases in front of a norm take no part: their gradient, rounding apart, is zero, and autograd calls them unused.
    """
    x = F.pad(voxels[0, 0, ..., None], (0, LINE - 1))
    skip64 = _down(network.down_tr64, x)
    skip128 = _down(network.down_tr128, _half(skip64))
    skip256 = _down(network.down_tr256, _half(skip128))
    bottleneck = _down(network.down_tr512, _half(skip256))
    y = _up(network.up_tr256, bottleneck, skip256)
    y = _up(network.up_tr128, y, skip128)
    feature = _up(network.up_tr64, y, skip64)
    widths = (network.down_tr512.ops[1], network.up_tr64.ops[1])
    return cast(
        tuple[Tensor, Tensor],
        tuple(_channels_first(t, _width(layer)) for t, layer in zip((bottleneck, feature), widths, strict=True)),
    )


def _down(level: Down, x: Tensor) -> Tensor:
    return _layers(level.ops, x)


def _up(level: Up, x: Tensor, skip: Tensor) -> Tensor:
    """A transposed convolution 2^3 of stride 2 is one matrix product, each voxel's row cut into eight."""
    transposed, bias = level.up_conv.weight, cast(Tensor, level.up_conv.bias)
    inputs, outputs = transposed.shape[:2]
    depth, height, width, _ = x.shape
    rows = x[..., :inputs].reshape(-1, inputs) @ transposed.permute(0, 2, 3, 4, 1).reshape(inputs, -1)
    fine = rows.view(depth, height, width, 2, 2, 2, outputs).permute(0, 3, 1, 4, 2, 5, 6)
    fine = fine.reshape(2 * depth, 2 * height, 2 * width, outputs) + bias
    both = torch.cat((fine, skip[..., : _inputs(level.ops) - outputs]), dim=-1)
    return _layers(level.ops, F.pad(both, (0, padded(both.shape[-1]) - both.shape[-1])))


def _layers(layers: Any, x: Tensor) -> Tensor:
    for layer in layers:
        x = _ConvNormReLU.apply(x, layer.conv1.weight, layer.bn1.weight, layer.bn1.bias)
    return x


def _inputs(layers: Any) -> int:
    return int(layers[0].conv1.in_channels)


def _width(layer: Any) -> int:
    return int(cast(ConvNormReLU, layer).conv1.out_channels)


def _half(x: Tensor) -> Tensor:
    pooled = F.max_pool3d(_channels_first(x, x.shape[-1]), 2)
    return pooled[0].permute(1, 2, 3, 0).contiguous()


def _channels_first(x: Tensor, channels: int) -> Tensor:
    """[D, H, W, stored] -> [1, channels, D, H, W], no copy."""
    return x[..., :channels].permute(3, 0, 1, 2)[None]


class _ConvNormReLU(torch.autograd.Function):
    """x [D, H, W, padded(C)], weight [K, C, 3, 3, 3], gamma and beta [K] -> [D, H, W, padded(K)]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        x = x.contiguous()
        outputs = len(weight)
        raw = _convolve(x, weight)
        stored = raw.shape[-1]
        gamma, beta = (F.pad(t, (0, stored - outputs)) for t in (gamma, beta))
        y, moments = torch.empty_like(raw), torch.empty(2, stored)
        total = torch.empty(2, stored, dtype=torch.float64)
        sizes = ctypes.c_long(raw.numel() // stored), ctypes.c_long(stored)
        _library().norm_relu(*_places(raw, gamma, beta), ctypes.c_double(_EPS), *sizes, *_places(total, moments, y))
        ctx.save_for_backward(x, weight, gamma, raw, moments, y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, gamma, raw, moments, y = ctx.saved_tensors
        outputs, inputs = weight.shape[:2]
        dy, stored = dy.contiguous(), raw.shape[-1]
        draw, means = torch.empty_like(raw), torch.empty(2, stored)
        total = torch.empty(2, stored, dtype=torch.float64)
        sizes = ctypes.c_long(raw.numel() // stored), ctypes.c_long(stored)
        _library().norm_relu_backward(*_places(raw, y, dy, gamma, moments), *sizes, *_places(total, means, draw))
        dbeta, dgamma = total[:, :outputs].float()
        dweight = weight_gradient(x, draw)[:outputs, :inputs]
        dx = _convolve(draw, weight.flip(2, 3, 4).transpose(0, 1)) if ctx.needs_input_grad[0] else None
        return dx, dweight, dgamma, dbeta


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    """x: [D, H, W, padded(C)], weight: [K, C, 3, 3, 3] -> [D, H, W, padded(K)], on one thread."""
    depth, height, width, stored = x.shape
    outputs, inputs = weight.shape[:2]
    y = torch.empty(depth, height, width, padded(outputs))
    choice = choose(Shape("", (depth, height, width), inputs, outputs, 3), _machine())
    packed = np.empty(choice.weight_bytes // 4, np.float32)
    pack(choice.algorithm, plain_kernels(weight.detach().numpy()), packed, 1)
    layer = Convolution(choice, Activation.plain(x.detach().numpy(), stored), Activation.plain(y.numpy(), outputs))
    layer.bind(packed, _scratch(layer.scratch_floats(1) + 16))
    layer.run()
    return y


def weight_gradient(x: Tensor, dy: Tensor) -> Tensor:
    """Of a 3^3 convolution x [D, H, W, C] -> y [D, H, W, K], dy its gradient, C and K whole lines: [K, C, 3, 3, 3]."""
    lines = torch.empty(x.shape[-1] // LINE, 27, dy.shape[-1], LINE)
    sides = [ctypes.c_long(n) for n in (*x.shape, dy.shape[-1])]
    scratch = torch.from_numpy(_scratch(_library().weight_gradient_scratch(*sides)))
    _library().weight_gradient(*_places(x, dy), *sides, *_places(scratch, lines))
    return lines.permute(2, 0, 3, 1).reshape(dy.shape[-1], x.shape[-1], 3, 3, 3)


def _scratch(floats: int) -> Floats:
    """This thread's, which its layers use in turn."""
    if getattr(_own, "scratch", np.empty(0)).size < floats:
        _own.scratch = np.empty(floats, np.float32)
    return cast(Floats, _own.scratch)


def _places(*tensors: Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(t.data_ptr()) for t in tensors]


@functools.cache
def _machine() -> Machine:
    return Machine.here(1)


@functools.cache
def _library() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory(prefix="umlite-train-") as folder:
        target = Path(folder) / "backward.so"
        compiler.compile_source(_SOURCE, target, compiler.compiler(), [_NATIVE, "-I", str(compiler.SOURCE)])
        library = ctypes.CDLL(str(target))
    library.weight_gradient_scratch.restype = ctypes.c_long
    return library

"""Differentiable layers in C on one thread: convolution with norm and ReLU, maximum, concatenation, heads.

Tensors are [D, H, W, channels], channels rounded up to whole lines (`umlite.cpu.activation.LINE`), float32.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from umlite.cpu.activation import LINE, Activation, Floats, padded
from umlite.cpu.algorithms import IMAGE, Choice, Shape, choose
from umlite.cpu.compiler import CompilerError, compiler, native_flag
from umlite.cpu.convolution import Convolution
from umlite.cpu.libraries import SOURCE, build, open_content, open_prebuilt
from umlite.cpu.packing import pack, plain_kernels
from umlite.cpu.prebuilt import prebuilt
from umlite.machine.processor import Machine

INNER = 8
"""Channels of the heads that `Heads` can compute."""

_SOURCE = Path(__file__).with_name("source") / "backward.c"
_EPS = 1e-5
_own = threading.local()


def available() -> bool:
    """Whether there are kernels: from the package, or built by a C compiler in about a second, at the first call."""
    try:
        _library()
    except CompilerError:
        return False
    return True


class ConvNormReLU(torch.autograd.Function):
    """x [D, H, W, padded(C)] (or 1), weight [K, C, 3, 3, 3], gamma and beta [K] -> [D, H, W, padded(K)]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        x = x.contiguous()
        outputs = len(weight)
        raw = _convolve(x, weight)
        stored = raw.shape[-1]
        gamma, beta = (F.pad(t, (0, stored - outputs)) for t in (gamma, beta))
        y, moments = torch.empty_like(raw), torch.empty(2, stored)
        total = torch.empty(2, stored, dtype=torch.float64)
        sizes = _sizes(raw.numel() // stored, stored)
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
        sizes = _sizes(raw.numel() // stored, stored)
        _library().norm_relu_backward(*_places(raw, y, dy, gamma, moments), *sizes, *_places(total, means, draw))
        dbeta, dgamma = total[:, :outputs].float()
        dweight = weight_gradient(x, draw)[:outputs, :inputs]
        dx = _convolve(draw, weight.flip(2, 3, 4).transpose(0, 1)) if ctx.needs_input_grad[0] else None
        return dx, dweight, dgamma, dbeta


class Pool(torch.autograd.Function):
    """x [D, H, W, C], even sides -> x itself, and its 2^3 maximum [D/2, H/2, W/2, C]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        depth, height, width, channels = x.shape
        y = torch.empty(depth // 2, height // 2, width // 2, channels)
        _library().pool(*_places(x), *_sizes(*y.shape), *_places(y))
        ctx.save_for_backward(x, y)
        return x, y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, y = ctx.saved_tensors
        other, dy = (t.contiguous() for t in gradients)
        dx = torch.empty_like(x)
        _library().pool_backward(*_places(x, y, dy, other), *_sizes(*y.shape), *_places(dx))
        return dx


class Join(torch.autograd.Function):
    """Upsampled rows [D, H, W, 8, K] beside the C first channels of skip [2D, 2H, 2W, stored].

    Returns [2D, 2H, 2W, padded(K + C)].
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, skip: Tensor, channels: int) -> Tensor:
        *coarse, _, ours = rows.shape
        y = torch.empty(*skip.shape[:3], padded(ours + channels))
        ctx.sizes = *coarse, ours, channels, skip.shape[-1], y.shape[-1]
        _library().join(*_places(rows, skip), *_sizes(*ctx.sizes), *_places(y))
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        dy = dy.contiguous()
        *coarse, ours, _, stored, _ = ctx.sizes
        rows, skip = torch.empty(*coarse, 8, ours), torch.empty(*dy.shape[:3], stored)
        _library().split(*_places(dy), *_sizes(*ctx.sizes), *_places(rows, skip))
        return rows, skip, None


class Heads(torch.autograd.Function):
    """h [INNER, V], params [classes, numbers] as in `umlite.kernels.dynamic_heads` -> logits [classes, V]."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, params: Tensor) -> Tensor:
        h, params = h.contiguous(), params.contiguous()
        logits = torch.empty(len(params), h.shape[1])
        _library().heads(*_places(h, params), *_sizes(h.shape[1], len(params)), *_places(logits))
        ctx.save_for_backward(h, params)
        return logits

    @staticmethod
    def backward(ctx: Any, dlogits: Tensor) -> tuple[Tensor, Tensor]:
        h, params = ctx.saved_tensors
        dlogits = dlogits.contiguous()
        dh, dparams, sums = torch.empty_like(h), torch.empty_like(params), torch.empty(*params.shape, LINE)
        sizes = _sizes(h.shape[1], len(params))
        _library().heads_backward(*_places(h, params, dlogits), *sizes, *_places(sums, dh, dparams))
        return dh, dparams


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    """x: [D, H, W, padded(C)] (or 1), weight: [K, C, 3, 3, 3] -> [D, H, W, padded(K)], on one thread."""
    depth, height, width, stored = x.shape
    outputs, inputs = weight.shape[:2]
    y = torch.empty(depth, height, width, padded(outputs))
    shape = Shape("", (depth, height, width), inputs, outputs, 3)
    if stored == 1:
        choice = Choice(shape, IMAGE, 1, False)
        packed = F.pad(weight.detach().reshape(outputs, 27).T, (0, y.shape[-1] - outputs)).numpy()
    else:
        choice = choose(shape, _machine())
        packed = np.empty(choice.weight_bytes // 4, np.float32)
        pack(choice.algorithm, plain_kernels(weight.detach().numpy()), packed, 1)
    layer = Convolution(choice, Activation.plain(x.detach().numpy(), stored), Activation.plain(y.numpy(), outputs))
    layer.bind(packed, _scratch(layer.scratch_floats(1) + 16))
    layer.run()
    return y


def weight_gradient(x: Tensor, dy: Tensor) -> Tensor:
    """The gradient of a 3^3 convolution's weights.

    Args:
        x: input [D, H, W, C], C a multiple of LINE, or 1.
        dy: gradient of the output [D, H, W, K], K a multiple of LINE.

    Returns:
        [K, C, 3, 3, 3].
    """
    outputs, inputs = dy.shape[-1], x.shape[-1]
    if inputs == 1:
        taps = torch.empty(outputs // LINE, 27, LINE)
        image = F.pad(x[..., 0], (1, 1) * 3)
        _library().image_gradient(*_places(image, dy), *_sizes(*x.shape[:3], outputs), *_places(taps))
        return taps.transpose(1, 2).reshape(outputs, 1, 3, 3, 3)
    lines = torch.empty(inputs // LINE, 27, outputs, LINE)
    sizes = _sizes(*x.shape, outputs)
    scratch = torch.from_numpy(_scratch(_library().weight_gradient_scratch(*sizes)))
    _library().weight_gradient(*_places(x, dy), *sizes, *_places(scratch, lines))
    return lines.permute(2, 0, 3, 1).reshape(outputs, inputs, 3, 3, 3)


def _scratch(floats: int) -> Floats:
    """Scratch memory of this thread, which its layers use in turn."""
    if getattr(_own, "scratch", np.empty(0)).size < floats:
        _own.scratch = np.empty(floats, np.float32)
    return cast(Floats, _own.scratch)


def _places(*tensors: Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(t.data_ptr()) for t in tensors]


def _sizes(*numbers: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(n) for n in numbers]


@functools.cache
def _machine() -> Machine:
    return Machine.here(1)


@functools.cache
def _library() -> ctypes.CDLL:
    if (came := prebuilt(_SOURCE)) and not os.environ.get("CC"):
        library = open_prebuilt(came, _SOURCE)
    else:
        library = open_content(build(_SOURCE, compiler(), [native_flag(), "-I", str(SOURCE)]), _SOURCE)
    library.weight_gradient_scratch.restype = ctypes.c_int64
    return library

"""Runs every algorithm in every mode once, on odd sizes, then whole small networks with heads and sums.

A program: sanitizers need a process of their own.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # `support`, as the other tests find it

from support.samples import small_model
from umlite.cpu import algorithms, libraries
from umlite.cpu.activation import Activation, padded
from umlite.cpu.assembly import Assembly, Norm
from umlite.cpu.blend import blend
from umlite.cpu.heads import Heads
from umlite.engines.cpu import NATIVE
from umlite.machine.processor import Machine


def activation(rng: np.random.Generator, grid, channels: int, residual: str) -> Activation:
    made = Activation.plain(rng.standard_normal((*grid, padded(channels))).astype(np.float32), channels)
    made.slope = 0.0 if residual == "none" else 0.01
    if residual != "none":
        made.residual = activation(rng, grid, channels, "none")
        if residual == "shared":
            made.residual.data = np.ascontiguousarray(made.residual.data[..., :1])
    return made


def run(algorithm: algorithms.Algorithm, up: bool, residual: str, shared: bool, rng: np.random.Generator) -> None:
    grid, inputs, outputs = (5, 6, 9), 19, 37
    net = Assembly(Machine(threads=3), keep=False)
    net._choose = lambda shape: algorithms.Choice(shape, algorithm, 6, shared)  # type: ignore[method-assign]
    x = activation(rng, grid, inputs, residual)
    taps = 1 if algorithm.taps == 1 else 3
    weight = rng.standard_normal((outputs, inputs, taps, taps, taps)).astype(np.float32)
    norm = Norm.plain(outputs)
    if up:
        y = net.tensor((10, 12, 18), outputs)
        transposed = rng.standard_normal((inputs, inputs, 2, 2, 2)).astype(np.float32)
        net.up_convolution("up", weight, transposed, x, y, bias=np.ones(inputs, np.float32), norm=norm, accumulate=True)
    else:
        y = net.tensor(grid, outputs)
        pool = net.tensor((2, 3, 4), outputs) if algorithm.library == "winograd" else None
        net.convolution("layer", weight, x, y, norm=norm, pool=pool)
        image = net.tensor(grid, outputs)
        net.image_convolution("image", weight[:, :1].repeat(3 // taps, 2).repeat(3 // taps, 3).repeat(3 // taps, 4),
                              rng.random(grid, np.float32), image, norm=norm)  # fmt: skip
    net.prepare()
    net.run()
    if not np.isfinite(y.data).all():
        sys.exit(f"{algorithm.name}: not finite")


def run_halved_and_doubled(rng: np.random.Generator) -> None:
    """A strided convolution, and the interpolation back."""
    net = Assembly(Machine(threads=3), keep=False)
    x, y = activation(rng, (10, 6, 14), 19, "none"), net.tensor((5, 3, 7), 24)
    norm, weight = Norm.plain(24), rng.standard_normal((24, 19, 3, 3, 3)).astype(np.float32)
    net.strided_convolution("halved", weight, x, y, norm=norm)
    net.upsampling("doubled", y, fine := net.tensor((10, 6, 14), 24), norm=norm)
    net.prepare()
    net.run()
    if not np.isfinite(fine.data).all():
        sys.exit("halved and doubled: not finite")


def network(backbone: str, window: tuple[int, int, int]) -> None:
    """A window through a small network: logits, logits added into a slab, logits blended into one."""
    model = small_model(backbone)
    made = NATIVE[type(model.backbone)](model.backbone, window, 3, keep=False)
    made.image[...] = np.random.default_rng(1).random(window, np.float32)
    made.run()
    heads = Heads(model, made.feature, made.bottleneck, 3)
    logits = heads.logits([0, 5, 6])
    slab = np.zeros((3, *(side + 3 for side in window)), np.float32)
    sums = slab[:, 1:-2, 2:-1, 3:]
    importance = np.ones(window, np.float32)
    heads.add([0, 5, 6], sums, importance)
    blend(logits, importance, sums, 3)
    if not np.allclose(sums, 2 * logits, rtol=1e-5, atol=1e-5) or slab.sum() == 0:
        sys.exit(f"{backbone}: sums are not twice the logits")


def main() -> None:
    libraries.BUILD_LIMIT_S = 1500  # sanitizers make compilers slow: beside other work longer than a user would wait
    rng = np.random.default_rng(0)
    for algorithm, residual in itertools.product(algorithms.ALGORITHMS, ("none", "tensor", "shared")):
        for shared in (False, True) if algorithm.library == "winograd" else (False,):
            for up in {1: (False, True), 2: (True,), 3: (False,)}[algorithm.taps]:
                run(algorithm, up, residual, shared, rng)
    run_halved_and_doubled(rng)
    print("every layer ran", flush=True)
    for backbone, window in (("unet", (24, 16, 40)), ("swin_unetr", (32, 64, 32)), ("segresnet", (24, 16, 40))):
        network(backbone, window)
    print("every network ran")


if __name__ == "__main__":
    main()

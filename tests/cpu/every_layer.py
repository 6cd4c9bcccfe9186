"""Runs every algorithm in every mode once, on odd sizes. A program: sanitizers need a process of their own."""

from __future__ import annotations

import itertools
import sys

import numpy as np

from umlite.cpu import plan
from umlite.cpu.activation import Activation, padded
from umlite.cpu.assembly import Assembly, Norm
from umlite.cpu.machine import Machine


def activation(rng: np.random.Generator, grid, channels: int, residual: str) -> Activation:
    made = Activation.plain(rng.standard_normal((*grid, padded(channels))).astype(np.float32), channels)
    made.slope = 0.0 if residual == "none" else 0.01
    if residual != "none":
        made.residual = activation(rng, grid, channels, "none")
        if residual == "shared":
            made.residual.data = np.ascontiguousarray(made.residual.data[..., :1])
    return made


def run(algorithm: plan.Algorithm, up: bool, residual: str, shared: bool, rng: np.random.Generator) -> None:
    grid, inputs, outputs = (5, 6, 9), 19, 37
    net = Assembly(Machine(threads=3), keep=False)
    net._choose = lambda shape: plan.Choice(shape, algorithm, 6, shared)  # type: ignore[method-assign]
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


def main() -> None:
    rng = np.random.default_rng(0)
    for algorithm, residual in itertools.product(plan.ALGORITHMS, ("none", "tensor", "shared")):
        for shared in (False, True) if algorithm.library == "winograd" else (False,):
            for up in {1: (False, True), 2: (True,), 3: (False,)}[algorithm.taps]:
                run(algorithm, up, residual, shared, rng)
    print("every layer ran")


if __name__ == "__main__":
    main()

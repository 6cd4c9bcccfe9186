"""Rounding errors against float64: every algorithm of the CPU path, and whole windows through both networks.

    python -m bench.exactness                  # about ten minutes: float64 is slow
    python -m bench.exactness --quick          # seconds: narrow networks, to try the script

Errors of algorithms are relative L2, of a layer of 64 channels with ReLU inputs. Errors of networks are of logits, in
standard deviations of a class: the worst voxel of all classes and the root mean square. Eager float32 torch stands
beside them.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.recipe import recipe_weights, sample_window
from bench.report import begin, finish
from umlite import Segmenter
from umlite.cpu import algorithms
from umlite.cpu.activation import Activation, padded
from umlite.cpu.assembly import Assembly
from umlite.kernels.implementations import REFERENCE
from umlite.machine.processor import Machine
from umlite.machine.threads import available_threads
from umlite.weights.loading import load_model

BAR = 1.5
"""Times eager float32's own error that a network may err."""
PLANES = 4
"""Of a float64 convolution at a time: torch unfolds its input, 27 doubles for every number."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="unet,swin_unetr", help="unet, swin_unetr or both (default)")
    parser.add_argument("--kernels", default="native", help="native (default) or torch")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, help="all that this process may use by default")
    options = parser.parse_args()
    threads = options.threads or available_threads()[0]
    torch.set_num_threads(threads)
    report = begin("exactness", vars(options))
    report["algorithms"] = [algorithm_error(algorithm, threads) for algorithm in algorithms.ALGORITHMS]
    report["networks"] = [network_error(name, options) for name in options.backbone.split(",")]
    finish(report)


class _Fixed(Assembly):
    """Runs every layer by one algorithm."""

    def __init__(self, threads: int, algorithm: algorithms.Algorithm) -> None:
        super().__init__(Machine.here(threads), keep=False)
        self._algorithm = algorithm

    def _choose(self, shape: algorithms.Shape) -> algorithms.Choice:
        return algorithms.Choice(shape, self._algorithm, 12, False)


def algorithm_error(
    algorithm: algorithms.Algorithm, threads: int, channels: int = 64, side: int = 24
) -> dict[str, Any]:
    """One layer by one algorithm, and the same by eager torch."""
    rng = np.random.default_rng(0)
    net = _Fixed(threads, algorithm)
    values = rng.standard_normal((side, side, side, padded(channels))).astype(np.float32)
    source = Activation.plain(values, channels)
    source.slope = 0.0
    taps = 1 if algorithm.taps == 1 else 3
    weight = (rng.standard_normal((channels, channels, taps, taps, taps)) / (taps**1.5 * 8)).astype(np.float32)
    x = torch.from_numpy(source.values()).permute(3, 0, 1, 2)[None]
    w = torch.from_numpy(weight)
    if algorithm.taps == 2:
        spread = (rng.standard_normal((channels, channels, 2, 2, 2)) / 8).astype(np.float32)
        target = net.tensor((2 * side,) * 3, channels)
        net.up_convolution("layer", weight, spread, source, target)
        t = torch.from_numpy(spread)
        eager = F.conv3d(F.conv_transpose3d(x, t, stride=2), w, padding=1)
        exact = conv_in_slabs(F.conv_transpose3d(x.double(), t.double(), stride=2), w.double(), None)
    else:
        target = net.tensor((side,) * 3, channels)
        net.convolution("layer", weight, source, target)
        eager = F.conv3d(x, w, padding=taps // 2)
        exact = conv_in_slabs(x.double(), w.double(), None)
    net.prepare()
    net.run()
    ours = torch.from_numpy(target.data[..., :channels].copy()).permute(3, 0, 1, 2)[None]
    found = {"name": algorithm.name, "error": relative(ours, exact), "eager": relative(eager, exact)}
    print(f"  {algorithm.name:12} {found['error']:.1e}   eager torch {found['eager']:.1e}", flush=True)
    return found


def network_error(backbone: str, options: argparse.Namespace) -> dict[str, Any]:
    """A window of the recipe's network by umlite and by eager float32 torch, both against float64."""
    weights = recipe_weights(backbone, quick=options.quick)
    segmenter = Segmenter(weights, device="cpu", kernels=options.kernels, threads=options.threads)
    x = sample_window(segmenter.card.window[0])
    names = segmenter.card.classes
    ours = segmenter.window_logits(x, names)
    del segmenter
    model, _ = load_model(weights, REFERENCE)
    with torch.inference_mode():
        eager = model(x)
        exact = in_slabs(model.double())(x.double())
    found: dict[str, Any] = {"backbone": backbone}
    for name, logits in (("umlite", ours), ("eager", eager)):
        difference = (logits.double() - exact)[0].flatten(1) / exact[0].flatten(1).std(1, keepdim=True)
        found[name] = {"worst": float(difference.abs().max()), "rms": float(difference.square().mean().sqrt())}
    for kind in ("worst", "rms"):
        found[f"{kind}_ratio"] = round(found["umlite"][kind] / found["eager"][kind], 3)
        print(
            f"{backbone} {kind:5}: umlite {found['umlite'][kind]:.2e}, eager {found['eager'][kind]:.2e}, "
            f"ratio {found[f'{kind}_ratio']} (bar {BAR})",
            flush=True,
        )
    return found


class _SlabConv3d(nn.Module):
    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return conv_in_slabs(x, self.weight, self.bias)


def in_slabs(module: nn.Module) -> nn.Module:
    """Replace every 3^3 convolution, in place."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv3d) and child.kernel_size == (3, 3, 3):
            setattr(module, name, _SlabConv3d(child))
        else:
            in_slabs(child)
    return module


def conv_in_slabs(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution with padding, a few planes at a time."""
    pad = weight.shape[2] // 2
    x = F.pad(x, (pad,) * 6)
    planes = x.shape[2] - 2 * pad
    ranges = [(first, min(first + PLANES, planes)) for first in range(0, planes, PLANES)]
    return torch.cat([F.conv3d(x[:, :, a : b + 2 * pad], weight, bias) for a, b in ranges], dim=2)


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


if __name__ == "__main__":
    main()

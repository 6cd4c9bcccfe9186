"""Checks that hold for every native backbone."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from umlite.cpu.network import NativeNetwork


def assert_same_bits(kind: type[NativeNetwork[Any]], net: nn.Module, window: tuple[int, int, int]) -> None:
    """Neither the number of threads nor running again changes a bit of the feature."""
    image = np.random.default_rng(0).random(window, np.float32)
    results = []
    for threads in (1, 2, 3):
        native = kind(net, window, threads, keep=False)
        native.image[...] = image
        for _ in range(2):
            native.run()
            results.append(native.feature.values())
    assert all(np.array_equal(results[0], other) for other in results)

"""A function of one tensor, recorded once as a CUDA graph and replayed: no launch costs between its kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UPS = 3  # cuDNN and Triton choose and compile kernels on the first calls, which a graph cannot hold

Function = Callable[[Tensor], tuple[Tensor, ...]]


def can_record(device: torch.device) -> bool:
    """Whether the device is a GPU that this torch can use (CUDA, or ROCm under the same name)."""
    return device.type == "cuda" and torch.cuda.is_available()


class RecordedGraphs:
    """A function's graphs, one for each shape of its input, all in one pool of memory.

    function: [N, ...] -> tensors, free of transfers and synchronisation. The pool is shared because graphs never run
    at the same time: the answer of one call is overwritten by the next call, of any shape, so use it before.
    Source: "CUDA graphs" in torch's notes on CUDA semantics.
    """

    def __init__(self, function: Function) -> None:
        self._function = function
        self._graphs: dict[torch.Size, RecordedGraph] = {}
        self._pool: Any = None

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        if x.shape not in self._graphs:
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            self._graphs[x.shape] = RecordedGraph(self._function, x, self._pool)
        return self._graphs[x.shape](x)

    def clear(self) -> None:
        """Forget all graphs, and with them their memory."""
        self._graphs.clear()
        self._pool = None


class RecordedGraph:
    """One shape of `RecordedGraphs`. example: gives shape, dtype, strides and device. pool: where its memory lies."""

    def __init__(self, function: Function, example: Tensor, pool: Any) -> None:
        self._device, self._input = example.device, torch.zeros_like(example)
        with torch.cuda.device(self._device):
            self._record(function, pool)

    def _record(self, function: Function, pool: Any) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                function(self._input)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        before = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(self._graph, pool=pool):
                self._outputs = function(self._input)
        finally:
            torch.cuda.set_stream(before)  # a recording that cannot be ended leaves its own stream current

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        with torch.cuda.device(self._device):
            self._input.copy_(x)
            self._graph.replay()
        return self._outputs

"""CUDA graphs: a function is recorded once and replayed without the cost of launching its kernels one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UPS = 3  # on its first calls cuDNN and Triton choose and compile kernels, which a graph cannot record

Function = Callable[[Tensor], tuple[Tensor, ...]]


def can_record(device: torch.device) -> bool:
    """Whether the device is a GPU that torch can use here (CUDA, or ROCm, which torch also calls cuda)."""
    return device.type == "cuda" and torch.cuda.is_available()


class RecordedGraphs:
    """The graphs of a function, one per shape of its input, all in one pool of memory.

    Graphs never run at the same time, so they share the pool: the next call, of any shape, overwrites the result of the
    last one. Source: "CUDA graphs" in torch's notes on CUDA semantics.

    Args:
        function: [N, ...] -> tensors, without transfers and synchronisation.
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
        """Drop all graphs and free their memory."""
        self._graphs.clear()
        self._pool = None


class RecordedGraph:
    """The graph of a function for one shape of its input.

    Args:
        function: see `RecordedGraphs`.
        example: a tensor with the shape, dtype, strides and device of the input.
        pool: the pool of memory to use.
    """

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
            torch.cuda.set_stream(before)  # a failed recording leaves its own stream current

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        with torch.cuda.device(self._device):
            self._input.copy_(x)
            self._graph.replay()
        return self._outputs

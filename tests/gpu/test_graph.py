"""Recording and replay, on stand-ins for what torch.cuda gives: the order of calls and whose memory is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from umlite.gpu import graph as cuda_graph
from umlite.gpu.graph import WARM_UPS, RecordedGraphs


class Recorder:
    """A function of one tensor, and a torch.cuda whose graphs repeat into the outputs that were recorded."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.pools: list[Any] = []
        self.calls: list[str] = []
        self._recording = False
        self._last: tuple[Tensor, tuple[Tensor, ...]] | None = None
        recorder = self

        class Graph:
            def replay(self) -> None:
                recorder.calls.append("replay")
                x, outputs = self.recorded
                for output, again in zip(outputs, recorder.compute(x), strict=True):
                    output.copy_(again)

        @contextmanager
        def graph(made: Graph, pool: Any) -> Iterator[None]:
            recorder.pools.append(pool)
            recorder._recording = True
            recorder.stream = SimpleNamespace(wait_stream=lambda _other: None)
            yield  # torch's own does not come back from here when a recording cannot be ended
            recorder._recording = False
            recorder.stream = stream
            made.recorded = recorder._last  # type: ignore[attr-defined]

        self.stream = stream = SimpleNamespace(wait_stream=lambda _other: None)
        handles = iter(range(100))
        stand_in = SimpleNamespace(
            CUDAGraph=Graph,
            graph=graph,
            graph_pool_handle=lambda: next(handles),
            Stream=lambda: stream,
            stream=lambda _stream: nullcontext(),
            current_stream=lambda: recorder.stream,
            set_stream=lambda stream: setattr(recorder, "stream", stream),
            device=lambda _device: nullcontext(),
        )
        patch.setattr(cuda_graph.torch, "cuda", stand_in)

    @staticmethod
    def compute(x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, x.sum(1)

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        self.calls.append("record" if self._recording else "warm up")
        outputs = self.compute(x)
        self._last = (x, outputs)
        return outputs


def test_each_shape_is_recorded_once_and_replayed_on_new_values(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    graphs = RecordedGraphs(recorder)
    for n in (2, 1, 2, 2, 1):
        x = torch.rand(n, 3)
        for found, expected in zip(graphs(x), recorder.compute(x), strict=True):
            assert torch.equal(found, expected)
    first = ["warm up"] * WARM_UPS + ["record", "replay"]
    assert recorder.calls == first * 2 + ["replay"] * 3
    assert recorder.pools == [0, 0]


def test_graphs_are_made_again_in_a_new_pool_after_they_were_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    graphs = RecordedGraphs(recorder)
    graphs(torch.rand(2, 3))
    graphs.clear()
    x = torch.rand(2, 3)
    assert torch.equal(graphs(x)[0], 2 * x)
    assert recorder.pools == [0, 1]


def test_a_recording_that_fails_leaves_the_stream_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    before = recorder.stream

    def function(x: Tensor) -> tuple[Tensor, ...]:
        if recorder._recording:
            raise torch.OutOfMemoryError("out of memory")
        return recorder(x)

    with pytest.raises(torch.OutOfMemoryError):
        RecordedGraphs(function)(torch.rand(2, 3))
    assert recorder.stream is before


def test_only_a_gpu_that_torch_can_use_is_recorded_on() -> None:
    assert not cuda_graph.can_record(torch.device("cpu"))
    assert cuda_graph.can_record(torch.device("cuda")) == torch.cuda.is_available()

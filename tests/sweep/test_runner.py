"""Constant windows are computed once, and nothing else changes."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.stub_engine import StubEngine
from umlite.sweep.runner import WindowCounts, WindowRunner, constant_windows
from umlite.sweep.sweep import blended_logits, decide_volume
from umlite.windows import Size, window_at, window_grid

sides = st.integers(1, 6)


@given(st.tuples(sides, sides, sides), st.tuples(*[st.integers(0, 9)] * 3), st.sampled_from([0, 0.5, 0.75]), st.data())
def test_constant_windows_are_found(window: Size, more: Size, overlap: float, data: st.DataObject) -> None:
    shape = tuple(w + m for w, m in zip(window, more, strict=True))
    seed = data.draw(st.integers(0, 99))
    volume = (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 0.9).clamp_min(0)
    starts = window_grid(shape, window, overlap)
    parts = {start: volume[window_at(start, window)] for start in starts}
    expected = {start: float(part.max()) for start, part in parts.items() if part.min() == part.max()}
    assert constant_windows(volume, window, overlap) == expected


@settings(max_examples=25)
@given(st.tuples(*[st.integers(1, 20)] * 3), st.integers(1, 4), st.integers(0, 99))
def test_reuse_changes_no_bit(shape: Size, batch: int, seed: int) -> None:
    engine = StubEngine((4, 6, 2), classes=2, batch=batch)
    voxels = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    voxels[: shape[0] // 2] = 0
    voxels[-3:, -4:] = 1
    with torch.inference_mode():
        found = blended_logits(engine, voxels, [0, 1], 0.5)
        plain = torch.zeros(2, *engine.field_shape(voxels))
        runner = WindowRunner(engine, engine.padded(voxels), [0, 1], 0.5, 0, lambda *_: None)
        runner._constant = {}
        runner.add(engine.starts(voxels), plain, (0, 0, 0))
    assert runner.reused == 0
    assert torch.equal(found, engine.blended(plain, voxels))


def test_counts() -> None:
    engine = StubEngine((4, 4, 4), classes=1, batch=3)
    voxels = torch.zeros(16, 4, 4)
    voxels[:4] = torch.rand(4, 4, 4)
    seen: list[tuple[int, int]] = []
    _, counts, _ = decide_volume(engine, voxels, [0], ["a"], 0.5, lambda *done: seen.append(done))
    assert counts == WindowCounts(run=3, reused=4, total=7)
    assert engine.seen == 3
    assert str(counts) == "3 of 7"
    assert seen[-1] == (7, 7)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})

"""Streaming along an axis changes no bit of any voxel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.stub_engine import StubEngine
from umlite.errors import DeviceError, WeightsError
from umlite.sweep import window_field
from umlite.sweep.runner import WindowRunner
from umlite.sweep.sweep import blended_logits, decide_volume, finished_parts
from umlite.sweep.window_field import WindowField, lay_out_windows
from umlite.windows import Size, total_importance

shapes = st.tuples(*[st.integers(1, 14)] * 3)
windows = st.tuples(*[st.integers(2, 7)] * 3)
overlaps = st.sampled_from([0, 0.2, 0.5, 0.75])


def unstreamed(engine: StubEngine, field: WindowField, overlap: float) -> torch.Tensor:
    sums = torch.zeros(2, *field.shape)
    WindowRunner(engine, field.voxels, [0, 1], overlap, 0, lambda *_: None).add(field.starts, sums, (0, 0, 0))
    return sums


@settings(max_examples=30, deadline=None)
@given(shapes, windows, overlaps, st.integers(0, 2), st.integers(1, 3))
def test_streamed_equals_unstreamed(shape: Size, window: Size, overlap: float, axis: int, batch: int) -> None:
    engine = StubEngine(window, batch=batch)
    voxels = torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape))).clamp_min(0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_field, "streaming_axis", lambda *_: axis)
        field = lay_out_windows(engine, voxels, overlap)
        bits, counts, _ = decide_volume(engine, voxels, [0, 1], ["a", "b"], overlap)
    expected = unstreamed(engine, field, overlap)
    found = torch.full_like(expected, torch.nan)
    runner = WindowRunner(engine, field.voxels, [0, 1], overlap, 0, lambda *_: None)
    with torch.inference_mode():
        for origin, slab, total in finished_parts(engine, field, field.starts, runner):
            assert slab.stride(-1) == 1
            assert total is None
            target = found.narrow(axis + 1, origin[axis], slab.shape[axis + 1])
            assert target.isnan().all()  # each plane is given once
            target.copy_(slab)
    assert torch.equal(found, expected)
    assert counts.run + counts.reused == counts.total == len(field.starts)
    for k, name in enumerate("ab"):
        assert np.array_equal(bits.mask(name), (expected[k] > 0)[field.inside].numpy())


@settings(max_examples=30, deadline=None)
@given(shapes, windows, overlaps, st.integers(0, 2), st.integers(0, 999))
def test_some_of_the_windows(shape: Size, window: Size, overlap: float, axis: int, seed: int) -> None:
    """Planes that no window touches are left out, all others are given once and right."""
    engine = StubEngine(window)
    voxels = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_field, "streaming_axis", lambda *_: axis)
        field = lay_out_windows(engine, voxels, overlap)
    chosen = [start for start in field.starts if np.random.default_rng([seed, *start]).random() < 0.4]
    expected, found = torch.zeros(2, *field.shape), torch.zeros(2, *field.shape)
    given_planes = torch.zeros(field.shape[axis], dtype=torch.int64)
    with torch.inference_mode():
        engine.add_windows(field.voxels, chosen, [0, 1], expected, (0, 0, 0)) if chosen else None
        runner = WindowRunner(engine, field.voxels, [0, 1], overlap, 0, lambda *_: None)
        weights = torch.zeros(field.shape)
        for origin, slab, total in finished_parts(engine, field, chosen, runner, weighted=True):
            first, planes = origin[axis], slab.shape[axis + 1]
            given_planes[first : first + planes] += 1
            found.narrow(axis + 1, first, planes).copy_(slab)
            weights.narrow(axis, first, planes).copy_(total)
    touched = torch.zeros(field.shape[axis], dtype=torch.int64)
    for start in chosen:
        touched[start[axis] : start[axis] + window[axis]] = 1
    assert torch.equal(given_planes, touched)
    assert torch.equal(found, expected)
    torch.testing.assert_close(weights, total_importance(field.shape, chosen, engine.importance))


def test_an_empty_volume_runs_no_window() -> None:
    engine = StubEngine((4, 4, 4))
    bits, counts, _ = decide_volume(engine, torch.zeros(0, 0, 0), [0, 1], ["a", "b"], 0.5)
    assert bits.shape == (0, 0, 0)
    assert counts.total == engine.seen == 0
    assert blended_logits(engine, torch.zeros(0, 0, 0), [0], 0.5).shape == (1, 0, 0, 0)


@pytest.mark.parametrize("whole", [False, True])
def test_progress_counts_every_window(whole: bool) -> None:
    engine = StubEngine((4, 4, 4), batch=4)
    seen: list[tuple[int, int]] = []
    voxels = torch.rand(9, 12, 5)
    if whole:
        blended_logits(engine, voxels, [0], 0.5, lambda *done: seen.append(done))
    else:
        decide_volume(engine, voxels, [0], ["a"], 0.5, lambda *done: seen.append(done))
    assert seen[-1] == (4 * 5 * 2, 4 * 5 * 2)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_only_a_slab_needs_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    slab = 4 * 2 * 4 * 6 * 5
    engine = StubEngine((4, 4, 4))
    voxels = torch.rand(40, 6, 5)
    monkeypatch.setattr("umlite.machine.memory.free_bytes", lambda _device: slab)
    decide_volume(engine, voxels, [0, 1], ["a", "b"], 0.5)
    with pytest.raises(DeviceError, match=r"2 classes over 40 x 6 x 5"):
        blended_logits(engine, voxels, [0, 1], 0.5)
    monkeypatch.setattr("umlite.machine.memory.free_bytes", lambda _device: slab - 1)
    with pytest.raises(DeviceError, match=r"2 classes over 4 x 6 x 5"):
        decide_volume(engine, voxels, [0, 1], ["a", "b"], 0.5)


def test_nonsense_in_one_window_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = StubEngine((4, 4, 4))
    monkeypatch.setattr(engine, "window_logits", lambda windows, _classes: windows / windows.max().floor())
    with pytest.raises(WeightsError, match="NaN or infinity for a"):
        decide_volume(engine, torch.rand(4, 4, 20), [0], ["a"], 0.5)

"""Adaptive windows: in the region nothing differs from all windows, whatever stays in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from support.stub_engine import Bright, Hidden, StubEngine
from umlite.sweep.adaptive import decide as adaptive
from umlite.sweep.adaptive.active_region import ActiveRegion
from umlite.sweep.adaptive.decide import count_touched, decide_adaptively
from umlite.sweep.adaptive.first_windows import covering_windows
from umlite.sweep.sweep import blended_logits, decide_volume
from umlite.sweep.window_field import lay_out_windows
from umlite.windows import Size, window_at

shapes = st.tuples(*[st.integers(8, 44)] * 3)
windows = st.tuples(*[st.sampled_from([12, 16, 24])] * 3)


def scan_with_a_box(shape: Size, seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    voxels = 0.1 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    voxels[tuple(slice(c, c + 6) for c in (int(rng.integers(n)) for n in shape))] += 0.6
    return voxels


@settings(max_examples=25, deadline=None)
@given(shapes, windows, st.integers(0, 999), st.sampled_from([0.0, 0.5, 1.5, 99.0]))
def test_the_same_as_all_windows(shape: Size, window: Size, seed: int, kept: float) -> None:
    engine, voxels = Bright(window), scan_with_a_box(shape, seed)
    expected, _, _ = decide_volume(engine, voxels, [0], ["a"], 0.5)
    before = engine.seen
    bits, counts, undecided = decide_adaptively(engine, voxels, [0], ["a"], 0.5, kept_windows=kept)
    assert np.array_equal(bits.words[0], expected.words[0])
    assert counts.run == engine.seen - before
    if undecided == 0:
        assert counts.run + counts.reused >= counts.total


@settings(max_examples=10, deadline=None)
@given(shapes, windows, st.integers(0, 999), st.sampled_from([0.0, 1.5]))
def test_every_window_over_the_region_ran(shape: Size, window: Size, seed: int, kept: float) -> None:
    """For an engine of waves, which are positive in many places: the region's logits are those of all windows."""
    engine = StubEngine(window)
    voxels = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    field = lay_out_windows(engine, voxels, 0.5)
    made: list[ActiveRegion] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adaptive, "ActiveRegion", lambda *a: made.append(ActiveRegion(*a)) or made[-1])
        bits, _, undecided = decide_adaptively(engine, voxels, [0, 1], ["a", "b"], 0.5, margin=-0.7, kept_windows=kept)
    (grown,) = made
    expected, _, _ = decide_volume(engine, voxels, [0, 1], ["a", "b"], 0.5)
    region = torch.from_numpy(grown.blocks)
    for axis in range(3):
        region = region.repeat_interleave(4, axis)
    region = region[tuple(map(slice, field.shape))][field.inside].numpy()
    logits = blended_logits(engine, voxels, [0, 1], 0.5).abs().amin(0).numpy()
    differs = bits.words[0] != expected.words[0]
    assert not differs[region & (logits > 1e-5)].any()
    assert np.count_nonzero(differs[logits > 1e-5]) <= undecided


def test_every_window_over_a_seam_of_signs_ran() -> None:
    class Right(StubEngine):
        """The window alone decides: positive in those that begin at 16 or later along z."""

        def window_logits(self, windows: Tensor, _classes) -> Tensor:
            late = windows[:, :, :1, :1, :1] > 0.15
            return torch.where(late, 3.0, -9.0).expand(-1, -1, *windows.shape[2:]).clone()

    engine = Right((16, 16, 16))
    voxels = torch.linspace(0.01, 0.9, 96).expand(16, 16, 96).contiguous()
    expected, _, _ = decide_volume(engine, voxels, [0], ["a"], 0.5)
    bits, _, _ = decide_adaptively(engine, voxels, [0], ["a"], 0.5)
    assert 0 < expected.mask("a").sum() < expected.mask("a").size
    assert np.array_equal(bits.words[0], expected.words[0])


def test_few_windows_for_a_small_thing_in_a_long_scan() -> None:
    engine = Bright((16, 16, 16))
    voxels = 0.01 + 0.1 * torch.rand(40, 40, 160, generator=torch.Generator().manual_seed(0))
    voxels[18:24, 18:24, 10:16] = 0.9
    seen: list[tuple[int, int]] = []
    bits, counts, undecided = decide_adaptively(engine, voxels, [0], ["a"], 0.5, lambda *done: seen.append(done))
    assert bits.mask("a").sum() == 6**3
    assert counts.run < 0.5 * counts.total
    assert 0 < undecided < voxels.numel()
    assert seen[-1][0] == counts.run + counts.reused


@pytest.mark.parametrize("kept", [0.0, 1.5])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rounds_follow_what_the_first_windows_missed(kept: float, mirrored: bool) -> None:
    """Backwards too, further than the sums in memory reach: those windows run again, and nothing else differs."""
    engine = Hidden((16, 16, 16))
    voxels = torch.zeros(16, 16, 160) + 0.01 + 0.1 * torch.rand(160, generator=torch.Generator().manual_seed(1))
    voxels[6:10, 6:10, 20:120] = 0.9
    voxels = voxels.flip(2) if mirrored else voxels
    expected, _, _ = decide_volume(engine, voxels, [0], ["a"], 0.5)
    bits, counts, _ = decide_adaptively(engine, voxels, [0], ["a"], 0.5, kept_windows=kept)
    assert expected.mask("a").sum() > 1000
    assert np.array_equal(bits.words[0], expected.words[0])
    if kept:
        assert counts.run <= counts.total


def test_only_a_few_planes_of_sums_need_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, voxels = Bright((8, 8, 8)), torch.rand(8, 8, 80)
    monkeypatch.setattr("umlite.machine.memory.free_bytes", lambda _device: 4 * 2 * 8 * 8 * 20)
    decide_adaptively(engine, voxels, [0], ["a"], 0.5)


def test_air_around_the_body_runs_no_window() -> None:
    engine = Bright((8, 8, 8))
    voxels = torch.zeros(40, 8, 40)
    voxels[:8, :, :8] = 0.2
    _, counts, undecided = decide_adaptively(engine, voxels, [0], ["a"], 0.5)
    assert (counts.run, counts.reused) == (1, 0)
    assert undecided > 0


@pytest.mark.parametrize("shape", [(0, 0, 0), (3, 2, 1)])
def test_small_volumes(shape: Size) -> None:
    engine = Bright((8, 8, 8))
    bits, counts, undecided = decide_adaptively(engine, torch.rand(shape), [0], ["a"], 0.5)
    assert bits.shape == shape
    assert undecided == 0
    assert counts.run == counts.total
    assert blended_logits(engine, torch.rand(shape), [0], 0.5).shape == (1, *shape)


@settings(max_examples=40, deadline=None)
@given(shapes, windows, st.integers(0, 99))
def test_undecided_voxels_are_those_of_windows_that_did_not_run(shape: Size, window: Size, seed: int) -> None:
    engine = Bright(window)
    field = lay_out_windows(engine, torch.rand(shape), 0.5)
    chosen = [s for s in field.starts if np.random.default_rng([seed, *s]).random() < 0.3]
    mask = np.zeros(field.shape, bool)
    for start in chosen:
        mask[window_at(start, window)] = True
    assert count_touched(chosen, window, field) == np.count_nonzero(mask[field.inside])
    assert set(covering_windows(field, window)) <= set(field.starts)

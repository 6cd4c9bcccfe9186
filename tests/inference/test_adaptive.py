"""Adaptive windows: the coarse grid covers, and in the active region nothing differs from all windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_engine import StubEngine
from torch import Tensor

from umlite.inference.adaptive import BLOCK, active_blocks, coarse_starts, decide_adaptively, grown, touches
from umlite.inference.sweep import blended_logits, decide_volume
from umlite.inference.windows import Size, window_at, window_grid

shapes = st.tuples(*[st.integers(8, 60)] * 3)
windows = st.tuples(*[st.sampled_from([8, 12, 16, 24])] * 3)


class Bright(StubEngine):
    """Class k is where the scan is brighter than 0.5, a little less sure near a window's border."""

    def window_logits(self, windows: Tensor, classes) -> Tensor:
        self.seen += len(windows)
        return torch.stack([20 * (windows[:, 0] - 0.5) - 0.3 * self._place for _ in classes], 1)


@settings(max_examples=60, deadline=None)
@given(shapes, windows, st.sampled_from([0, 0.3, 0.5, 0.6, 0.75]))
def test_the_coarse_grid_is_part_of_the_grid_and_covers(shape: Size, window: Size, overlap: float) -> None:
    shape = tuple(max(n, w) for n, w in zip(shape, window, strict=True))
    coarse = coarse_starts(shape, window, overlap)
    grid = window_grid(shape, window, overlap)
    assert set(coarse) <= set(grid)
    covered = np.zeros(shape, bool)
    for start in coarse:
        covered[window_at(start, window)] = True
    assert covered.all()
    if overlap == 0.5:
        assert sorted(coarse) == sorted(window_grid(shape, window, 0.0))


@settings(max_examples=25, deadline=None)
@given(shapes, windows, st.integers(0, 999))
def test_active_voxels_equal_all_windows(shape: Size, window: Size, seed: int) -> None:
    engine, rng = Bright(window), np.random.default_rng(seed)
    voxels = 0.1 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    corner = [int(rng.integers(n)) for n in shape]
    voxels[tuple(slice(c, c + 6) for c in corner)] += 0.6
    expected, _ = decide_volume(engine, voxels, [0], ["a"], 0.5)
    ran = engine.seen
    bits, counts, undecided = decide_adaptively(engine, voxels, [0], ["a"], 0.5)
    assert np.array_equal(bits.bits, expected.bits)
    assert counts.run == engine.seen - ran
    assert counts.run + counts.reused <= counts.total
    assert (undecided == 0) == (counts.run + counts.reused == counts.total)


def test_few_windows_for_a_small_thing_in_a_long_scan() -> None:
    engine = Bright((16, 16, 16))
    voxels = 0.1 * torch.rand(40, 40, 160, generator=torch.Generator().manual_seed(0))
    voxels[18:24, 18:24, 10:16] = 0.9
    seen: list[tuple[int, int]] = []
    bits, counts, undecided = decide_adaptively(engine, voxels, [0], ["a"], 0.5, lambda *done: seen.append(done))
    assert bits.mask("a").sum() == 6**3
    assert counts.run < 0.5 * counts.total
    assert 0 < undecided < voxels.numel()
    assert seen[-1][0] == counts.run + counts.reused


def test_a_round_finds_what_the_first_windows_missed() -> None:
    """Seen only by windows that are not in the coarse grid, next to something that is active."""

    class Hidden(Bright):
        def window_logits(self, windows: Tensor, classes) -> Tensor:
            logits = super().window_logits(windows, classes)
            return torch.where((self._place > 0.3) & (windows[:, :1] > 0.8), torch.full_like(logits, -30.0), logits)

    engine = Hidden((16, 16, 16))
    voxels = torch.zeros(16, 16, 96) + 0.1 * torch.rand(96)
    voxels[6:10, 6:10, 38:56] = 0.9
    expected, _ = decide_volume(engine, voxels, [0], ["a"], 0.5)
    bits, counts, _ = decide_adaptively(engine, voxels, [0], ["a"], 0.5)
    assert expected.mask("a").any()
    assert np.array_equal(bits.bits, expected.bits)
    assert counts.run < counts.total


def test_blocks() -> None:
    sums, total = torch.full((2, 20, 9, 8), -9.0), torch.full((20, 9, 8), 2.0)
    sums[1, 19, 8, 0] = -3.0
    blocks = active_blocks(sums, total, margin=2.0)
    assert np.argwhere(blocks).tolist() == [[2, 1, 0]]
    assert np.argwhere(grown(blocks)).tolist() == [[1, 0, 0], [1, 1, 0], [2, 0, 0], [2, 1, 0]]
    assert touches((BLOCK, 0, 0), (BLOCK + 1, 9, 8), blocks)
    assert not touches((BLOCK, 0, 0), (BLOCK, 9, 8), blocks)


@pytest.mark.parametrize("shape", [(0, 0, 0), (3, 2, 1)])
def test_small_volumes(shape: Size) -> None:
    engine = Bright((8, 8, 8))
    bits, counts, undecided = decide_adaptively(engine, torch.rand(shape), [0], ["a"], 0.5)
    assert bits.shape == shape
    assert undecided == 0
    assert counts.run == counts.total
    assert blended_logits(engine, torch.rand(shape), [0], 0.5).shape == (1, *shape)

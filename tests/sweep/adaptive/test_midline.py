"""Classes of one component: few windows find it, and post-processing makes the same masks of them as of all windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from support.stub_engine import Bright, Hidden, StubEngine
from umlite.classes import PUBLISHED
from umlite.masks.postprocessing import needed_classes, postprocess
from umlite.sweep.adaptive.active_region import BLOCK, connected_to
from umlite.sweep.adaptive.decide import decide_adaptively
from umlite.sweep.adaptive.midline import MidlineSearch, anchors
from umlite.sweep.slab import Part
from umlite.sweep.sweep import decide_volume


def test_anchors() -> None:
    published = [c.name for c in PUBLISHED]
    assert anchors(["bladder", "liver"]) == ("bladder", "liver")
    assert anchors(needed_classes(["liver_tumor"], published)) == ("liver",)
    for free in (
        "spleen",
        "kidney_tumor",
        "pancreas_tumor",
        "hepatic_vessel",
        "right_lung",
        "portal_vein_and_splenic_vein",
        "my_own",
    ):
        assert anchors(needed_classes(["bladder", free], published)) == ()
    assert anchors(["liver_tumor"]) == ()  # without its host


def boxes(shape: tuple[int, int, int], *at: tuple[tuple[int, int, int], int], seed: int = 0) -> Tensor:
    voxels = 0.01 + 0.1 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    for corner, side in at:
        voxels[tuple(slice(c, c + side) for c in corner)] = 0.9
    return voxels


@pytest.mark.parametrize("engine", [Bright((16, 16, 16)), Hidden((16, 16, 16))])
def test_only_the_largest_component_costs_windows(engine: Bright) -> None:
    voxels = boxes((40, 40, 160), ((14, 14, 20), 12), ((30, 2, 90), 6), ((2, 30, 120), 5))
    expected, _, _ = decide_volume(engine, voxels, [0], ["liver"], 0.5)
    found, counts, undecided = decide_adaptively(engine, voxels, [0], ["liver"], 0.5)
    assert counts.run < counts.total
    if type(engine) is Bright:  # of what hides the column shows too little
        assert counts.run < decide_adaptively(engine, voxels, [0], ["free"], 0.5)[1].run
    assert undecided > 0
    cleaned = postprocess(found, ["liver"])[0]
    assert cleaned.mask("liver").sum() > 100
    assert np.array_equal(cleaned.words[0], postprocess(expected, ["liver"])[0].words[0])


@settings(max_examples=12, deadline=None)
@given(st.tuples(st.integers(16, 36), st.integers(16, 36), st.integers(30, 60)), st.integers(0, 999))
def test_the_same_after_post_processing(shape: tuple[int, int, int], seed: int) -> None:
    """Wherever the largest component is, in the column in the middle or beside it, cut off at the edge or not."""
    rng = np.random.default_rng(seed)
    at = [(tuple(int(rng.integers(n)) for n in shape), side) for side in (9, 4, 3)]
    engine, voxels = Bright((16, 16, 16)), boxes(shape, *at, seed=seed)
    expected, _, _ = decide_volume(engine, voxels, [0], ["liver"], 0.5)
    found, _, _ = decide_adaptively(engine, voxels, [0], ["liver"], 0.5)
    cleaned, wanted = (postprocess(bits, ["liver"])[0].mask("liver") for bits in (found, expected))
    assert np.array_equal(cleaned, wanted) or cleaned.sum() == wanted.sum()  # of two equally large ones, either


def test_a_lesion_is_looked_for_where_its_host_is() -> None:
    class Two(StubEngine):
        def window_logits(self, windows: Tensor, classes) -> Tensor:
            logits = torch.stack([20 * (windows[:, 0] - 0.5), 20 * (windows[:, 0] - 0.8)], 1)
            return logits[:, list(classes)]

    engine = Two((16, 16, 16))
    voxels = boxes((32, 32, 160), ((10, 10, 20), 14), ((4, 4, 100), 6))
    voxels[10:24, 10:24, 20:34] = 0.6
    voxels[14:18, 14:18, 26:30] = 0.95  # the lesion
    names = needed_classes(["liver_tumor"], ["liver", "liver_tumor"])
    expected, _, _ = decide_volume(engine, voxels, [1, 0], names, 0.5)
    found, counts, _ = decide_adaptively(engine, voxels, [1, 0], names, 0.5)
    assert counts.run < 0.6 * counts.total
    cleaned = postprocess(found, ["liver_tumor"])[0]
    assert cleaned.mask("liver_tumor").sum() == 64
    assert np.array_equal(cleaned.words[0], postprocess(expected, ["liver_tumor"])[0].words[0])


def test_counts_and_candidates() -> None:
    search = MidlineSearch([1], (24, 8, 8), 1.0, (6.0, 6.0, 6.0))
    sums, total = torch.full((2, 24, 8, 8), -9.0), torch.full((24, 8, 8), 2.0)
    sums[1, :4, :4, :4] = 1.0  # 64 voxels present
    sums[1, 12:18] = -1.0  # 384 possible, none present
    sums[1, 22:, 7, 7] = 1.0  # 2 present
    sums[0, 8:10] = 5.0  # another class
    assert not search.seen()
    search.add([Part((0, 0, 0), sums[:, :5], total[:5]), Part((5, 0, 0), sums[:, 5:], total[5:])])
    assert search.present.sum() == 66
    assert search.possible.sum() == 64 + 384 + 2
    assert search.seen()
    # 12 to 18 along x hang together: they may be larger than what is present from 0 to 4.
    blocks = [*range(4 // BLOCK), *range(12 // BLOCK, -(-18 // BLOCK))]
    assert sorted({int(p) for p in np.argwhere(search.candidates())[:, 0]}) == blocks
    sums[1, 12:18] = -3.0
    sure = MidlineSearch([1], (24, 8, 8), 1.0, (6.0, 6.0, 6.0))
    sure.add([Part((0, 0, 0), sums, total)])
    assert np.argwhere(sure.candidates()).max() == 4 // BLOCK - 1


def test_connected_to() -> None:
    blocks, seeds = np.zeros((6, 2, 2), bool), np.zeros((6, 2, 2), bool)
    blocks[[1, 2, 4], [0, 1, 0], [0, 1, 0]] = True
    seeds[0, 1, 1] = True
    assert np.argwhere(connected_to(seeds, blocks)).tolist() == [[0, 1, 1], [1, 0, 0], [2, 1, 1]]
    assert not connected_to(np.zeros_like(seeds), blocks).any()

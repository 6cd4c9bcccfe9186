"""The first windows of an adaptive run hold everything that matters."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.stub_engine import StubEngine
from umlite.sweep.adaptive.first_windows import body_of, covering_windows
from umlite.sweep.window_field import lay_out_windows
from umlite.windows import Size, window_at, window_grid

shapes = st.tuples(*[st.integers(5, 32)] * 3)
windows = st.tuples(*[st.sampled_from([8, 11, 16])] * 3)


@settings(max_examples=30, deadline=None)
@given(shapes, windows, st.sampled_from([0, 0.3, 0.5, 0.6]), st.integers(0, 999))
def test_the_body_is_covered(shape: Size, window: Size, overlap: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    voxels = torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.01)
    field = lay_out_windows(StubEngine(window), voxels, overlap)
    first = covering_windows(field, window)
    assert first == [start for start in field.starts if start in set(first)]
    covered = np.zeros(field.shape, bool)
    for start in first:
        covered[window_at(start, window)] = True
    assert covered[body_of(field.voxels).numpy()].all()


@settings(max_examples=30, deadline=None)
@given(shapes, st.tuples(*[st.sampled_from([8, 12, 16])] * 3))
def test_no_more_windows_than_without_overlap(shape: Size, window: Size) -> None:
    field = lay_out_windows(StubEngine(window), torch.ones(shape), 0.5)
    assert len(covering_windows(field, window)) <= len(window_grid(field.shape, window, 0.0))


def test_the_body() -> None:
    """# tissue, lungs are inside though the field of view cuts the wall away on one side, air around is not."""
    section = """
        ..####..
        .##..##.
        .##..###
        ........
        ########
    """
    tissue = torch.tensor([[c == "#" for c in row] for row in section.split()])
    inside = """
        ..####..
        .######.
        .#######
        .#######
        ########
    """
    expected = torch.tensor([[c == "#" for c in row] for row in inside.split()])
    found = body_of(tissue[..., None].float())
    assert torch.equal(found[..., 0], expected)
    assert not body_of(torch.zeros(3, 4, 5)).any()


def test_nothing_in_the_scan_needs_no_window() -> None:
    field = lay_out_windows(StubEngine((8, 8, 8)), torch.zeros(20, 20, 20), 0.5)
    assert covering_windows(field, (8, 8, 8)) == []

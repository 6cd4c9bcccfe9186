import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.data.utils import compute_shape_offset, zoom_affine

from umlite.volume.geometry import Grid, crop_grid, flip_axes, index_map, permute_axes, ras_axes, resampled_grid

ORIENTATIONS = [
    (axes, flips) for axes in itertools.permutations(range(3)) for flips in itertools.product([False, True], repeat=3)
]


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    return nib.eulerangles.euler2mat(*np.deg2rad(degrees))


def affine_of(matrix: np.ndarray, origin: tuple[float, float, float]) -> np.ndarray:
    return nib.affines.from_matvec(matrix, origin)


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_every_orientation_becomes_ras_in_place(axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> None:
    ras = Grid((5, 6, 7), affine_of(rotation((8, -5, 12)) @ np.diag([0.7, 0.8, 2.5]), (3, -40, 11)))
    stored = permute_axes(flip_axes(ras, flips), axes)
    found_axes, found_flips = ras_axes(stored.affine)
    again = flip_axes(permute_axes(stored, found_axes), found_flips)
    assert again.shape == ras.shape
    np.testing.assert_allclose(again.affine, ras.affine, atol=1e-12)
    image = nib.as_closest_canonical(nib.Nifti1Image(np.zeros(stored.shape, np.uint8), stored.affine))
    np.testing.assert_allclose(again.affine, image.affine, atol=1e-12)


@pytest.mark.parametrize(
    ("matrix", "shape"),
    [
        (np.diag([0.8, 0.8, 5.0]), (51, 37, 9)),
        (np.diag([1.0, 1.0, 1.0]), (40, 41, 42)),
        (np.diag([3.0, 3.0, 3.0]), (1, 20, 1)),
        (np.diag([0.05, 0.05, 0.05]), (200, 33, 91)),
        (rotation((10, 20, -15)) @ np.diag([0.9, 0.7, 2.0]), (30, 40, 21)),
        ((rotation((10, 20, -15)) @ np.diag([0.9, 0.7, 2.0])).astype(np.float32).astype(float), (30, 40, 210)),
        (np.array([[0.9, 0, 0], [0, 0.9, 0.6], [0, 0, 2.0]]), (30, 40, 21)),
        (np.array([[0.9, 0.2, 0], [0, 0.9, -0.6], [0.1, 0, 2.0]]), (31, 17, 22)),
    ],
)
def test_resampled_grid_is_monais(matrix: np.ndarray, shape: tuple[int, int, int]) -> None:
    grid = Grid(shape, affine_of(matrix, (-120.5, 33.25, 900)))
    expected = zoom_affine(grid.affine, [1.5, 1.5, 1.5], diagonal=False)
    count, offset = compute_shape_offset(shape, grid.affine, expected)
    expected[:3, 3] = offset
    found = resampled_grid(grid, (1.5, 1.5, 1.5))
    assert found.shape == tuple(count)
    np.testing.assert_allclose(found.affine, expected, atol=1e-9)


def test_a_grid_at_the_wanted_spacing_stays() -> None:
    grid = Grid((20, 30, 40), affine_of(np.diag([1.5, 1.5004, 1.5]), (1, 2, 3)))
    assert resampled_grid(grid, (1.5, 1.5, 1.5)) is grid
    assert resampled_grid(grid, (1.5, 1.51, 1.5)) is not grid


def test_crop_keeps_places() -> None:
    grid = Grid((20, 30, 40), affine_of(rotation((10, 20, 30)) * 1.5, (1, 2, 3)))
    part = crop_grid(grid, (2, 3, 4), (5, 9, 11))
    assert part.shape == (3, 6, 7)
    np.testing.assert_allclose(part.affine @ [1, 1, 1, 1], grid.affine @ [3, 4, 5, 1])


angles = st.tuples(*[st.floats(-180, 180)] * 3)
spacings = st.tuples(*[st.floats(0.1, 8)] * 3)


@given(angles, spacings, st.tuples(*[st.integers(1, 90)] * 3))
def test_resampled_voxels_cover_the_scan(
    degrees: tuple[float, float, float], spacing: tuple[float, float, float], shape: tuple[int, int, int]
) -> None:
    grid = Grid(shape, affine_of(rotation(degrees) @ np.diag(spacing), (5, 6, 7)))
    model = resampled_grid(grid, (1.5, 1.5, 1.5))
    there = index_map(model, grid) @ model.corners()
    # round(extent + 1) may miss or add half a model voxel at the far end, or at both ends when centred.
    slack = 0.7501 * 1.5 / np.array(spacing) + 0.5
    last = np.array(shape) - 1
    assert (np.abs(there[:3].min(axis=1)) <= slack).all()
    assert (np.abs(there[:3].max(axis=1) - last) <= slack).all()
    np.testing.assert_allclose(index_map(model, grid) @ index_map(grid, model), np.eye(4), atol=1e-9)

"""Areas of surfaces equal those of DeepMind's surface-distance, and of shapes whose area is known."""

from __future__ import annotations

import numpy as np
import pytest
from surface_distance.lookup_tables import create_table_neighbour_code_to_surface_area

from umlite.masks.surfels import surfel_areas, surfel_codes


@pytest.mark.parametrize("seed", range(5))
def test_areas_equal_surface_distance(seed: int) -> None:
    spacing = np.random.default_rng(seed).uniform(0.3, 5, 3)
    expected = create_table_neighbour_code_to_surface_area(spacing)
    np.testing.assert_allclose(surfel_areas(np.diag(spacing)), expected, rtol=1e-12)


def test_areas_do_not_depend_on_how_the_grid_lies() -> None:
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    spacing = np.diag([0.7, -0.8, 2.5])
    np.testing.assert_allclose(surfel_areas(rotation @ spacing), surfel_areas(np.abs(spacing)), rtol=1e-12)


def test_areas_of_plane_pieces_in_a_sheared_grid() -> None:
    axes = np.array([[2.0, 0, 1], [0, 3, 0.5], [0, 0, 4]])
    x, y, z = axes.T
    areas = surfel_areas(axes)
    for code, one, other in ((0b11110000, y, z), (0b11001100, x, z), (0b10101010, x, y)):
        assert areas[code] == areas[255 - code] == pytest.approx(np.linalg.norm(np.cross(one, other)))


def test_codes_name_the_corners() -> None:
    for bit, corner in enumerate(np.ndindex(2, 2, 2)):
        mask = np.zeros((2, 2, 2), bool)
        mask[corner] = True
        assert surfel_codes(mask).tolist() == [[[1 << (7 - bit)]]]

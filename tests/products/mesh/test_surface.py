"""Surfaces are closed, face outwards and hold the volume of the interpolated field."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from support.fields import assert_closed, balls, smooth_noise, volume_above_zero
from umlite.products.mesh import surface
from umlite.products.mesh.cells import FACES, cut_cell
from umlite.products.mesh.surface import Mesh, zero_surface


def surface_of(field: np.ndarray) -> Mesh:
    return zero_surface(lambda first, end: field[first:end], field.shape)  # type: ignore[arg-type]


def test_every_cell_with_every_choice_at_its_faces() -> None:
    """Lines on the faces are used by one triangle, inner edges by two; together all corners of one kind are apart."""
    for code in range(256):
        split = [number for number, face in enumerate(FACES) if face.is_split(code)]
        for choice in range(1 << len(split)):
            joined = sum((choice >> k & 1) << face for k, face in enumerate(split))
            rows = cut_cell(code, joined).triangles.tolist()
            edges = [(row[i], row[(i + 1) % 3]) for row in rows for i in range(3)]
            assert len(set(edges)) == len(edges)
            border = [edge for edge in edges if edge[::-1] not in edges]
            cuts = {vertex for row in rows for vertex in row if vertex < 64}
            assert len(border) == len(cuts) == sum((code >> a ^ code >> b) & 1 for a, b in CUBE_EDGES)


CUBE_EDGES = [(a, a | 1 << k) for a in range(8) for k in range(3) if not a >> k & 1]


@pytest.mark.parametrize("seed", range(25))
def test_noise_gives_closed_surfaces(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """White noise has every configuration of neighbouring cells; slabs of one plane change nothing."""
    rng = np.random.default_rng(seed)
    field = np.pad(rng.normal(size=rng.integers(1, 13, 3)).astype(np.float32), 1, constant_values=-1)
    whole = surface_of(field)
    assert_closed(whole)
    monkeypatch.setattr(surface, "_SLAB_VOXELS", 1)
    parts = surface_of(field)
    np.testing.assert_allclose(parts.points, whole.points, rtol=1e-12)
    assert sorted(parts.triangles.tolist()) == sorted(whole.triangles.tolist())


@pytest.mark.parametrize("seed", range(4))
def test_volume_of_an_interpolated_field(seed: int) -> None:
    field = np.pad(smooth_noise(np.random.default_rng(seed), (22, 20, 24)), 1, constant_values=-3)
    mesh = surface_of(field)
    assert_closed(mesh)
    assert mesh.volume == pytest.approx(volume_above_zero(field), rel=0.01)


def test_a_ball_is_one_smooth_body() -> None:
    field = balls((30, 31, 32), (14.3, 15.2, 14.9, 11.7))
    mesh = surface_of(field)
    other = trimesh.Trimesh(mesh.points, mesh.triangles, process=False)
    assert other.is_watertight
    assert other.is_winding_consistent
    assert other.body_count == 1
    assert other.euler_number == 2
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 11.7**3, rel=0.005)
    assert other.volume == pytest.approx(mesh.volume)
    assert other.area == pytest.approx(4 * np.pi * 11.7**2, rel=0.005)
    np.testing.assert_allclose(np.linalg.norm(mesh.points - (14.3, 15.2, 14.9), axis=1), 11.7, atol=0.05)


def test_split_faces_join_by_bilinear_interpolation() -> None:
    """Two voxels across a face are one body where the interpolated middle is inside, else two."""
    for others, bodies in ((-0.5, 1), (-2.0, 2)):
        field = np.full((4, 4, 3), others, np.float32)
        field[1, 1, 1] = field[2, 2, 1] = 1
        mesh = surface_of(field)
        assert_closed(mesh)
        assert trimesh.Trimesh(mesh.points, mesh.triangles, process=False).body_count == bodies


def test_mirrored_meshes_still_face_outwards() -> None:
    mesh = surface_of(balls((12, 12, 12), (5.5, 5.5, 5.5, 4)))
    mirrored = mesh.moved(np.diag([-2.0, 1, 1, 1]))
    assert_closed(mirrored)
    assert mirrored.volume == pytest.approx(2 * mesh.volume)


def test_nothing_inside_is_an_empty_mesh() -> None:
    mesh = surface_of(np.full((3, 4, 5), -1, np.float32))
    assert len(mesh.points) == len(mesh.triangles) == mesh.volume == 0

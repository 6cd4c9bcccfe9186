"""Tumours and cysts: where they sit in their host, their shape, and how they look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from umlite.phantom.appearance import LUNG_TUMOR_HU, viable_tumour_hu
from umlite.phantom.noise import Array
from umlite.phantom.scan_grid import Field
from umlite.phantom.scene import Lesion, Scene
from umlite.phantom.shapes import ellipsoid, smooth_min
from umlite.phantom.spec import PHASES, LesionSpec

DEPTH: dict[str, tuple[float, float]] = {
    # least and most depth of the centre under the host's surface, in lesion radii; below 0 it bulges out
    "liver_tumor": (0.3, 9.0),
    "kidney_tumor": (0.0, 0.7),
    "kidney_cyst": (-0.25, 0.6),
    "pancreas_tumor": (0.3, 9.0),
    "lung_tumor": (0.35, 9.0),
    "colon_tumor": (0.25, 9.0),
}
_BULGING = ("kidney_tumor", "kidney_cyst", "pancreas_tumor")
_HOST_TISSUES = {
    "liver_tumor": ("liver",),
    "kidney_tumor": ("renal_cortex", "renal_medulla"),
    "pancreas_tumor": ("pancreas",),
    "colon_tumor": ("bowel_wall",),
}
_CANDIDATES = 600
_RIM_HU, _RIM_MM = 38.0, 2.5
_WALL_SHARE = 0.9  # how far a tumour of the colon grows into its lumen, in radii


def grow_lesions(scene: Scene, kind: str, hosts: Sequence[str]) -> None:
    """Add the spec's lesions of one kind to the hosts in view, in picture and masks."""
    for i, wanted in enumerate(scene.spec.lesions):
        if wanted.kind != kind:
            continue
        rng = scene.rng(f"lesion {i}")
        visible = [name for name in hosts if name in scene.fields and scene.masks[name].any()]
        if not visible:
            continue
        host = str(rng.choice(visible))
        found = _find_centre(scene, rng, wanted, scene.fields[host])
        if found is not None:
            _add(scene, rng, wanted, host, found)


def _find_centre(
    scene: Scene, rng: np.random.Generator, wanted: LesionSpec, host: Field
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """A centre in scanner and body coordinates: the first of many random places with a suitable depth."""
    axes = [axis[part] for axis, part in zip(scene.grid.axes_mm, host.box, strict=True)]
    low = np.array([np.floor(axis[0] / 20) * 20 for axis in axes])
    high = np.array([np.ceil(axis[-1] / 20) * 20 for axis in axes])
    places = rng.uniform(low, high, (_CANDIDATES, 3))
    index = [
        np.clip(np.round((column - axis[0]) / step), 0, len(axis) - 1).astype(int)
        for column, axis, step in zip(places.T, axes, scene.grid.spacing_mm, strict=True)
    ]
    depth = -host.distance[tuple(index)]
    radius = wanted.diameter_mm / 2
    least, most = np.multiply(DEPTH[wanted.kind], radius)
    for other, other_radius in scene.lesion_balls:
        depth[np.linalg.norm(places - other, axis=1) < radius + other_radius] = -np.inf
    fits = np.flatnonzero((depth >= min(least, 0.75 * float(depth.max()))) & (depth <= most))
    if not fits.size or depth.max() <= 0:
        return None
    best = fits[0]
    voxel = tuple(int(column[best]) for column in index)
    body = np.array([float(column[voxel]) for column in host.points])
    off = places[best] - [axis[n] for axis, n in zip(axes, voxel, strict=True)]
    return places[best], body + off


def _add(
    scene: Scene,
    rng: np.random.Generator,
    wanted: LesionSpec,
    host_name: str,
    centre: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    radius, host = wanted.diameter_mm / 2, scene.fields[host_name]
    reach = 1.4 * radius + 8
    field = Field(scene.grid, scene.grid.box(centre[1] - reach, centre[1] + reach))
    if not field.size:
        return
    field.distance = _shape(scene, rng, wanted, field, centre[1])
    here = Field(scene.grid, field.box)
    here.distance = _on_box(host, field)
    if wanted.kind in _BULGING:
        outside = np.where(here.distance > 0.5, -scene.taken[field.box] + 1, np.float32(-99))
        np.maximum(field.distance, outside, out=field.distance)
        grown = smooth_min(here.distance, field.distance, 3) if wanted.kind == "pancreas_tumor" else None
        here.distance = np.minimum(here.distance, field.distance) if grown is None else grown
        scene.take(here)
        scene.mark(host_name, field)
    else:
        np.maximum(field.distance, here.distance, out=field.distance)
    if wanted.kind == "colon_tumor":
        np.maximum(field.distance, -(here.distance + _WALL_SHARE * radius), out=field.distance)
    field.distance = np.where(scene.masks[host_name][field.box], field.distance, np.maximum(field.distance, 0.01))
    voxels = int(((field.distance < 0) & (scene.skin[field.box] < 0)).sum())
    if not voxels:
        return
    scene.paint(field, _density(scene, wanted, field))
    if wanted.style == "necrotic" and wanted.kind != "kidney_cyst":
        core = Field(scene.grid, field.box)
        core.distance = field.distance + np.float32(0.38 * radius) + scene.noise(str(centre), field.box, 4)
        scene.paint(core, scene.tissue["necrosis"])
    scene.mark(wanted.kind, field)
    scene.lesion_balls.append((centre[0], radius))
    world = tuple(round(float(c), 2) for c in centre[0] + scene.spec.origin_mm)
    scene.lesions.append(
        Lesion(wanted.kind, host_name, world, wanted.diameter_mm, wanted.style, voxels)  # type: ignore[arg-type]
    )


def _shape(
    scene: Scene, rng: np.random.Generator, wanted: LesionSpec, field: Field, centre: NDArray[np.float64]
) -> Array:
    """A few balls blended into one shape with a rough border; cysts are smooth and round."""
    radius = wanted.diameter_mm / 2
    if wanted.kind == "kidney_cyst":
        return ellipsoid(field.points, centre, radius * rng.uniform(0.92, 1.08, 3))
    distance = ellipsoid(field.points, centre, 0.88 * radius * rng.uniform(0.85, 1.15, 3))
    for _ in range(int(rng.integers(1, 4))):
        aside = rng.normal(size=3)
        aside *= 0.45 * radius / np.linalg.norm(aside)
        lobe = ellipsoid(field.points, centre + aside, (rng.uniform(0.5, 0.7) * radius,) * 3)
        distance = smooth_min(distance, lobe, 0.3 * radius)
    name = f"{wanted.kind} {centre.round(0)}"
    distance += np.float32(0.1 * radius) * scene.noise(name, field.box, max(3.0, 0.4 * radius))
    if wanted.kind == "lung_tumor":
        distance -= np.float32(1.5) * np.maximum(scene.noise(f"spicules {name}", field.box, 3), 0)
    return distance


def _density(scene: Scene, wanted: LesionSpec, field: Field) -> Array:
    kind, texture = wanted.kind, scene.noise(f"texture {wanted.diameter_mm}", field.box, 4)
    if kind == "kidney_cyst":
        return np.float32(scene.tissue["cyst"]) + texture
    if kind == "lung_tumor":
        viable = float(LUNG_TUMOR_HU[list(PHASES).index(scene.spec.phase)])
    else:
        viable = viable_tumour_hu(scene.spec, wanted, [scene.tissue[name] for name in _HOST_TISSUES[kind]])
    hu = np.float32(viable) + np.float32(7) * texture
    if wanted.style == "rim" and scene.spec.phase != "native":
        hu += np.float32(_RIM_HU) * np.clip(1 + field.distance / np.float32(_RIM_MM), 0, 1)
    return hu


def _on_box(host: Field, field: Field) -> Array:
    """The host's distance on the lesion's box; far outside where the host was not drawn."""
    out = Field(host.grid, field.box)
    inner, outer = [], []
    for a, b in zip(field.box, host.box, strict=True):
        start, stop = max(a.start, b.start), max(min(a.stop, b.stop), max(a.start, b.start))
        inner.append(slice(start - a.start, stop - a.start))
        outer.append(slice(start - b.start, stop - b.start))
    out.distance[tuple(inner)] = host.distance[tuple(outer)]
    return out.distance

"""The surface of a class: where its blended logits are 0, as far as post-processing kept it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from umlite.errors import RequestError
from umlite.masks.bitmask import Box
from umlite.masks.postprocessing import RULES
from umlite.masks.probability_on_scan import STEPS
from umlite.products.mesh.surface import Mesh, zero_surface
from umlite.results.segmentation import Segmentation
from umlite.volume.geometry import crop_grid

Floats = npt.NDArray[np.float32]

_SMALL_VOXELS = 20_000
_ALMOST_ZERO = 0.01
"""Instead of a logit of 0 between two voxels, where all edges there would cross at one point."""


def class_mesh(result: Segmentation, name: str) -> Mesh:
    """The closed surface of one class, from probabilities on the model's grid.

    A voxel's logit keeps its size, and its sign is that of the post-processed mask. So what post-processing removed has
    no surface, and where it cut a class, the surface lies halfway between voxels. Beyond the model's volume the nearest
    voxel counts with the sign of the outside: a class that reaches the end is closed half a voxel beyond it.

    Args:
        result: of a request with probabilities.
        name: canonical name of a requested class.

    Returns:
        Points in the scan's RAS coordinates, mm.

    Raises:
        RequestError: no probabilities, or a class that was not requested.
    """
    if result.probabilities is None:
        raise RequestError("This result has no probabilities, which surfaces are made from.", about="probabilities")
    bits, frame = result.computed.on_model, result.computed.frame
    place = bits.boxes().get(name)
    if place is None:
        bits.mask(name, (slice(0, 0), slice(0, 0), slice(0, 0)))  # an unknown class is an error, an empty one is not
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    shape = bits.shape
    wide: Box = tuple(slice(max(s.start - 1, 0), min(s.stop + 1, n)) for s, n in zip(place, shape, strict=True))  # type: ignore[assignment]
    ends = [(int(s.start == 0), int(s.stop == n)) for s, n in zip(place, shape, strict=True)]
    steps = np.pad(_steps(result, name, wide), ends, mode="edge")
    mask = np.pad(bits.mask(name, wide), ends)
    sizes = _logit_sizes()

    def planes(first: int, end: int) -> Floats:
        size = sizes[steps[first:end]]
        return np.where(mask[first:end], size, -size)

    x, y, z = steps.shape
    step = np.eye(4)
    if np.count_nonzero(mask) > _SMALL_VOXELS:
        surface = zero_surface(planes, (x, y, z))
    else:
        field = _refined(planes(0, x))
        surface = zero_surface(lambda first, end: field[first:end], (2 * x - 1, 2 * y - 1, 2 * z - 1))
        step[:3, :3] /= 2
    to_mm = crop_grid(frame.model, frame.start, frame.stop).affine.copy()
    to_mm[:3, 3] += to_mm[:3, :3] @ np.array([s.start - 1 for s in place], np.float64)
    return surface.moved(to_mm @ step)


def _refined(field: Floats) -> Floats:
    """A field with linear interpolation halfway between neighbours: 2 n - 1 places along each axis.

    Chords of large triangles would take more than 1 % off a small body.
    """
    for axis in range(3):
        values = np.moveaxis(field, axis, 0)
        finer = np.empty((2 * len(values) - 1, *values.shape[1:]), np.float32)
        finer[::2] = values
        finer[1::2] = (values[1:] + values[:-1]) / 2
        field = np.moveaxis(finer, 0, axis)
    field[field == 0] = -_ALMOST_ZERO
    return field


def _steps(result: Segmentation, name: str, box: Box) -> npt.NDArray[np.uint8]:
    """Probabilities in steps of 1 / STEPS. Where a rule shares out two organs by side, the larger one of both."""
    assert result.probabilities is not None
    file, rule = result.probabilities.file, RULES.get(name)
    names = [name]
    if rule is not None and rule.kind == "sides":
        names += [need for need in rule.needs if need in file.names and need != name]
    steps = file.read(name)[box]
    for other in names[1:]:
        steps = np.maximum(steps, file.read(other)[box])
    return steps


def _logit_sizes() -> npt.NDArray[np.float32]:
    """The absolute logit of every step; never 0, since 0.5 lies between two steps."""
    shares = np.clip(np.arange(STEPS + 1), 0.5, STEPS - 0.5) / STEPS
    return np.abs(np.log(shares / (1 - shares))).astype(np.float32)

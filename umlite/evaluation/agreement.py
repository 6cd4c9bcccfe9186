"""How well the mask of one class agrees with the truth in one scan."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from umlite.evaluation.distances import nearest_mm
from umlite.masks.components import label_components
from umlite.masks.surfels import surfel_areas, surfel_codes
from umlite.results.metrics import dice
from umlite.volume.geometry import spacing_of

Mask = npt.NDArray[np.bool_]

_PERCENTILE = 95
_LEAST_SHEAR = 1e-3


@dataclass(frozen=True)
class LesionCounts:
    """Lesions of one scan, which are 26-connected components.

    Args:
        truth: lesions of the truth.
        found: those of them that share at least one voxel with the prediction.
        predicted: predicted lesions.
        false: those of them that share no voxel with the truth.
    """

    truth: int
    found: int
    predicted: int
    false: int


@dataclass(frozen=True)
class Agreement:
    """One class of one scan, predicted and true.

    Where both masks are empty, `dice`, `nsd` and `hd95_mm` are NaN: there is nothing to agree on. Where one is empty,
    `dice` and `nsd` are 0 and `hd95_mm` is infinite. `nsd` and `hd95_mm` are NaN on a sheared grid.

    Args:
        name: the class.
        truth_ml, predicted_ml: volumes.
        dice: twice the overlap over the sum of both sizes.
        tolerance_mm: of `nsd`.
        nsd: normalised surface distance: the share of both surfaces within the tolerance of the other one.
        hd95_mm: the larger of the two 95th percentiles of distances from one mask's edge voxels to the other's.
        lesions: None for classes that are no lesions.
    """

    name: str
    truth_ml: float
    predicted_ml: float
    dice: float
    tolerance_mm: float
    nsd: float
    hd95_mm: float
    lesions: LesionCounts | None = None

    @property
    def volume_error_ml(self) -> float:
        """Predicted minus true volume."""
        return self.predicted_ml - self.truth_ml

    @property
    def volume_error_percent(self) -> float:
        """The volume error as a share of the true volume; NaN where the truth is empty."""
        return 100 * self.volume_error_ml / self.truth_ml if self.truth_ml else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON, with None for what is NaN or infinite."""
        fields = asdict(self) | {
            "volume_error_ml": self.volume_error_ml,
            "volume_error_percent": self.volume_error_percent,
        }
        return {name: finite(value) for name, value in fields.items()}


def agreement(
    name: str,
    predicted: Mask,
    truth: Mask,
    affine: npt.NDArray[np.float64],
    tolerance_mm: float,
    *,
    lesions: bool = False,
) -> Agreement:
    """Compare two masks of one class on one grid.

    Args:
        name: the class.
        predicted, truth: bool [X, Y, Z].
        affine: voxel index -> mm, float64 [4, 4].
        tolerance_mm: of the normalised surface distance.
        lesions: whether to count components one by one.
    """
    predicted, truth = _cropped(predicted, truth)
    axes = affine[:3, :3]
    voxel_ml = abs(float(np.linalg.det(axes))) / 1000
    nsd = hd95 = math.nan
    if not is_sheared(affine):
        nsd = surface_dice(predicted, truth, axes, tolerance_mm)
        hd95 = hausdorff_mm(predicted, truth, spacing_of(affine).tolist())
    return Agreement(
        name=name,
        truth_ml=int(np.count_nonzero(truth)) * voxel_ml,
        predicted_ml=int(np.count_nonzero(predicted)) * voxel_ml,
        dice=dice(predicted, truth),
        tolerance_mm=tolerance_mm,
        nsd=nsd,
        hd95_mm=hd95,
        lesions=count_lesions(predicted, truth) if lesions else None,
    )


def surface_dice(predicted: Mask, truth: Mask, axes_mm: npt.NDArray[np.float64], tolerance_mm: float) -> float:
    """Normalised surface distance of two masks, 0 to 1; NaN where both are empty.

    Source: Nikolov et al., arXiv 1809.04430; equal to DeepMind's surface-distance.

    Args:
        predicted, truth: bool [X, Y, Z].
        axes_mm: [3, 3], steps of the grid as columns, at right angles.
        tolerance_mm: how far apart surfaces still agree.
    """
    areas = surfel_areas(axes_mm)
    codes = [surfel_codes(np.pad(mask, 1)) for mask in (predicted, truth)]
    cells = [(code > 0) & (code < 255) for code in codes]
    spacing = np.linalg.norm(axes_mm, axis=0).tolist()
    within = whole = 0.0
    for i in (0, 1):
        surface = areas[codes[i][cells[i]]]
        near = nearest_mm(cells[i], cells[1 - i], spacing) <= tolerance_mm
        within += float(surface[near].sum())
        whole += float(surface.sum())
    return within / whole if whole else math.nan


def hausdorff_mm(predicted: Mask, truth: Mask, spacing_mm: list[float], percentile: float = _PERCENTILE) -> float:
    """The larger percentile of the distances from either mask's edge voxels to the other's.

    Edge voxels have a face neighbour outside; beyond the array is outside. Equal to MONAI's compute_hausdorff_distance.

    Returns:
        Millimetres; NaN where both masks are empty, infinite where one is.
    """
    edges = [edge_voxels(predicted), edge_voxels(truth)]
    present = [bool(edge.any()) for edge in edges]
    if not all(present):
        return math.inf if any(present) else math.nan
    ways = (nearest_mm(edges[i], edges[1 - i], spacing_mm) for i in (0, 1))
    return max(float(np.percentile(way, percentile)) for way in ways)


def count_lesions(predicted: Mask, truth: Mask) -> LesionCounts:
    """Lesions of the truth that were found, and predicted ones that are false."""
    true_labels, true_count = label_components(np.ascontiguousarray(truth))
    labels, count = label_components(np.ascontiguousarray(predicted))
    found = len(np.unique(true_labels[predicted & truth]))
    right = len(np.unique(labels[predicted & truth]))
    return LesionCounts(true_count, found, count, count - right)


def edge_voxels(mask: Mask) -> Mask:
    """Voxels of a mask [X, Y, Z] that have a face neighbour outside it; beyond the array is outside."""
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for side in (slice(None, -2), slice(2, None)):
            place = [slice(1, -1)] * 3
            place[axis] = side
            inner &= padded[tuple(place)]
    return mask & ~inner


def is_sheared(affine: npt.NDArray[np.float64]) -> bool:
    """Whether the axes of a grid are not at right angles, as with a tilted gantry."""
    axes = affine[:3, :3] / spacing_of(affine)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > _LEAST_SHEAR)


def finite(value: Any) -> Any:
    """A value for JSON: None for NaN and infinity, other floats to six digits after the point."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _cropped(predicted: Mask, truth: Mask) -> tuple[Mask, Mask]:
    """Both masks in the smallest box that holds them."""
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        places = np.flatnonzero(predicted.any(axis=others) | truth.any(axis=others))
        box.append(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 1))
    return predicted[tuple(box)], truth[tuple(box)]

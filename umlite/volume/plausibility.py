"""Whether a scan can be one of a body: a table of checks of its geometry and of the distribution of its HU.

docs/plausibility.md explains the table, bench/plausibility.py measures it. A finding never blocks, except for a
geometry that no body has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from umlite.errors import GeometryError
from umlite.volume.geometry import Grid, spacing_of
from umlite.volume.values import COUNTED_HU, Values

LEAST_SIDE_MM, LEAST_FINE_SIDE_MM, FINE_MM = 40.0, 100.0, 0.12
MOST_LENGTH_MM, MOST_WIDTH_MM = 2500.0, 1000.0
SMALL_SIDE_MM = 60.0
LEAST_SLICES, LEAST_THICKNESS_MM, MOST_SLICE_MM = 5, 15.0, 10.0
LEAST_HU, MOST_HU = -4100.0, 32000.0
LEAST_RANGE_HU = 20.0
MODEL_HU = (-175.0, 250.0)
EVERYTHING = math.inf

Subject = TypeVar("Subject", Grid, Values)


@dataclass(frozen=True)
class ScanFinding:
    """Something about a scan that a CT of a body has not. code: of the check. sentence: with the evidence."""

    code: str
    sentence: str


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """A row of the table.

    finds: the sentence about a grid or about values, None where all is well. refuses: unless it is forced.
    threshold, reason: in words, for the documentation.
    """

    code: str
    finds: Callable[[Subject], str | None]
    threshold: str
    reason: str
    refuses: bool = False


def check_geometry(grid: Grid, label: str, *, force: bool = False) -> list[ScanFinding]:
    """What is unusual about where voxels lie.

    Raises GeometryError where no body is so; with `force` that is found instead.
    """
    found = []
    for check in GEOMETRY_CHECKS:
        if sentence := check.finds(grid):
            if check.refuses and not force:
                message = f"{label}: {sentence} Correct the spacing in its header, or force its geometry."
                raise GeometryError(message, about="force_geometry")
            found.append(ScanFinding(check.code, sentence))
    return found


def check_values(values: Values) -> list[ScanFinding]:
    """What is unusual about the HU of a scan. Of those about their distribution the first that applies counts."""
    inner = values.without_padding()
    told = [(check.code, check.finds(values)) for check in FILL_CHECKS]
    told += [(check.code, sentence) for check in DISTRIBUTION_CHECKS if (sentence := check.finds(inner))][:1]
    return [ScanFinding(code, sentence) for code, sentence in told if sentence]


def is_body_sized(extent_mm: np.ndarray) -> bool:
    """Whether no check refuses a scan that covers `extent_mm`, float64 [3]."""
    grid = Grid((1, 1, 1), np.diag([*extent_mm, 1.0]))
    return not any(check.finds(grid) for check in GEOMETRY_CHECKS if check.refuses)


def _too_small(grid: Grid) -> str | None:
    spacing, sides = _measures(grid)
    is_fine = sorted(spacing)[1] < FINE_MM and sides[1] < LEAST_FINE_SIDE_MM
    if sides[1] >= LEAST_SIDE_MM and not is_fine:
        return None
    return f"It covers {_extent(grid)} in voxels of {_times(spacing)} mm, too little for a body. Is its unit mm?"


def _too_large(grid: Grid) -> str | None:
    _, sides = _measures(grid)
    if sides[0] <= MOST_LENGTH_MM and sides[1] <= MOST_WIDTH_MM:
        return None
    return f"It covers {_extent(grid)}, more than a body. Is its unit mm?"


def _thin(grid: Grid) -> str | None:
    spacing, _ = _measures(grid)
    count, thickness = min(grid.shape), min(spacing * grid.shape)
    if count >= LEAST_SLICES and thickness >= LEAST_THICKNESS_MM:
        return None
    return f"It is {count} voxels or {thickness:.3g} mm thin: organs are cut, and masks of so little are not reliable."


def _small(grid: Grid) -> str | None:
    _, sides = _measures(grid)
    if sides[1] >= SMALL_SIDE_MM:
        return None
    return f"It covers {_extent(grid)}: less than most organs, and masks of so little are not reliable."


def _coarse(grid: Grid) -> str | None:
    spacing, _ = _measures(grid)
    if spacing.max() <= MOST_SLICE_MM:
        return None
    return f"Voxels of {_times(spacing)} mm are over {MOST_SLICE_MM:g} mm apart: expect coarse masks."


def _identity(grid: Grid) -> str | None:
    if not np.array_equal(np.abs(grid.affine), np.eye(4)) or max(grid.shape) < 2:
        return None
    return "Its voxels are cubes of exactly 1 mm that start at the origin: the spacing and place were probably lost."


def _fill(values: Values) -> str | None:
    if values.low >= LEAST_HU and values.high <= MOST_HU:
        return None
    return f"Intensities run from {values.low:g} to {values.high:g}, beyond any HU: some are probably fill values."


def _normalised(values: Values) -> str | None:
    low, high = values.quantile(1e-3), values.quantile(0.999)
    if high - low >= LEAST_RANGE_HU or not COUNTED_HU[0] < low <= high < COUNTED_HU[1]:
        return None
    return f"Nearly all intensities lie within {low}..{high + 1}: these cannot be HU of a body. Were they normalised?"


def _eight_bits(values: Values) -> str | None:
    low, high = values.quantile(1e-3), values.quantile(0.999)
    fits = (low >= 0 and high <= 255) or (low >= -128 and high <= 127)
    if not fits or (high - low < 200 and values.share(low, low + 5) < 0.05):
        return None
    return f"Nearly all intensities lie within {low}..{high}, in 8 bits: these cannot be HU. Were they windowed?"


def _offset_lost(values: Values) -> str | None:
    tissue, between = values.share(824, 1224), values.share(-900, -200)
    if tissue < 0.02 or between > 0.004 or tissue < values.share(300, 824):
        return None
    return (
        f"{tissue:.0%} of the voxels lie between 824 and 1224 and {between:.1%} between -900 and -200: the offset of "
        f"-1024 HU is probably missing."
    )


def _offset_twice(values: Values) -> str | None:
    air, tissue = values.share(-2300, -1250), values.share(-1224, -824)
    here, padding = values.share(-200, 200), values.share(-EVERYTHING, -2300)
    if air < max(0.02, padding) or tissue < 0.05 or here > min(0.03, 0.45 * values.share(-700, EVERYTHING)):
        return None
    return (
        f"{air:.0%} of the voxels lie between -2300 and -1250, {tissue:.0%} between -1224 and -824, and {here:.1%} "
        f"between -200 and 200: -1024 was probably added twice."
    )


def _dense(values: Values) -> str | None:
    metal, bone = values.share(2000, EVERYTHING), values.share(700, EVERYTHING)
    if metal < 0.05 and bone < 0.25 and values.peak(700, 2000, 80) < 0.08:
        return None
    return f"{bone:.0%} of the voxels lie above 700 HU, {metal:.1%} above 2000: denser than a body. Did numbers wrap?"


def _no_negative(values: Values) -> str | None:
    if values.share(-EVERYTHING, 0) >= 0.002 or values.quantile(0.999) <= 255:
        return None
    return (
        f"Nearly no voxel is below 0 and some are above {values.quantile(0.999)}: these cannot be HU, or the offset of "
        f"-1024 HU is missing."
    )


def _no_tissue(values: Values) -> str | None:
    tissue, body = values.share(-200, 300), values.share(-700, EVERYTHING)
    if body >= 0.005 and tissue >= 0.2 * body:
        return None
    return (
        f"{tissue:.1%} of the voxels lie between -200 and 300 HU, where fat, water and organs are: too few for a body."
    )


def _cut_off(values: Values) -> str | None:
    low, high = values.quantile(1e-3), values.quantile(1 - 1e-3)
    cut_low = low > MODEL_HU[0] and values.share(low, low + 1) >= 0.05
    cut_high = high < MODEL_HU[1] and values.share(high, high + 1) >= 0.01
    if not cut_low and not cut_high:
        return None
    at = low if cut_low else high
    return f"Intensities are cut off at {at}: the network reads {MODEL_HU[0]:g} to {MODEL_HU[1]:g} HU."


def _measures(grid: Grid) -> tuple[np.ndarray, list[float]]:
    """Spacing in mm, float64 [3], and the extents in mm, the longest first."""
    spacing = spacing_of(grid.affine)
    return spacing, sorted((spacing * grid.shape).tolist(), reverse=True)


def _extent(grid: Grid) -> str:
    return f"{_times(spacing_of(grid.affine) * grid.shape)} mm"


def _times(numbers: np.ndarray) -> str:
    return " x ".join(f"{n:.4g}" for n in numbers.tolist())


GEOMETRY_CHECKS: Sequence[Check[Grid]] = (
    Check(
        "too-large",
        _too_large,
        f"the longest side is over {MOST_LENGTH_MM:g} mm, or the second-longest over {MOST_WIDTH_MM:g} mm",
        "Whole-body scans are up to 2100 mm long, and the widest fields of view 850 mm.",
        refuses=True,
    ),
    Check(
        "too-small",
        _too_small,
        f"the second-longest side is under {LEAST_SIDE_MM:g} mm, or under {LEAST_FINE_SIDE_MM:g} mm in voxels under "
        f"{FINE_MM:g} mm",
        "A CT of the body reconstructs 80 mm or more, in voxels of 0.15 mm or more. Metres that are called mm make 0.5 "
        "mm of 500, centimetres make 50.",
        refuses=True,
    ),
    Check(
        "small",
        _small,
        f"the second-longest side is under {SMALL_SIDE_MM:g} mm",
        "Half the side of a window, which is 144 mm: the network sees no neighbours. Centimetres called mm, resampled.",
    ),
    Check(
        "thin",
        _thin,
        f"under {LEAST_SLICES} voxels or {LEAST_THICKNESS_MM:g} mm along an axis",
        "The network sees windows of 144 mm; of an organ it needs some 20 mm to tell it from its neighbours.",
    ),
    Check(
        "coarse",
        _coarse,
        f"voxels are over {MOST_SLICE_MM:g} mm apart",
        "Slices of CT are 0.5 to 5 mm apart, old ones up to 10; beyond, adrenal glands and vessels fall between them.",
    ),
    Check(
        "identity",
        _identity,
        "the affine is the identity, but for signs",
        "No scanner writes it; programs do that lost the header. Volumes are then wrong, and left and right may be.",
    ),
)
FILL_CHECKS: Sequence[Check[Values]] = (
    Check(
        "fill",
        _fill,
        f"a value under {LEAST_HU:g} or over {MOST_HU:g}",
        "Padding is -1024 to -3024, extended scales end at 30,710; -32768, 32767, 65535 and 1e20 are marks, not HU.",
    ),
)
DISTRIBUTION_CHECKS: Sequence[Check[Values]] = (
    Check(
        "normalised",
        _normalised,
        f"99.8 % of the values lie within {LEAST_RANGE_HU:g}",
        "Noise alone spreads a CT of water over 40 HU. [0, 1], [-1, 1], z-scores and attenuation in 1/cm are narrower.",
    ),
    Check(
        "8-bit",
        _eight_bits,
        "99.8 % of the values lie within 0..255 or -128..127, over 200 of them or with 5 % within 5 of the low end",
        "A body has air or fat below and bone above; a piece of one organ has less spread and no peak at its low end.",
    ),
    Check(
        "offset-lost",
        _offset_lost,
        "2 % or more of the values lie in 824..1224, more than in 300..824, and 0.4 % or less in -900..-200",
        "Tissue, -200..200 HU, lies there without the offset. Cortical bone does too, but beside lung, or the edges of "
        "air, which fill -900..-200.",
    ),
    Check(
        "offset-twice",
        _offset_twice,
        "2 % or more lie in -2300..-1250 and no more below, 5 % or more in -1224..-824, and in -200..200 under 3 % and "
        "under 45 % of what is over -700",
        "Air is at -2048 and tissue at -1024 then. Padding alone leaves tissue where it is.",
    ),
    Check(
        "dense",
        _dense,
        "5 % or more lie above 2000 HU, or 25 % above 700, or 8 % within 80 HU between 700 and 2000",
        "Cortical bone is up to 10 % of a scan of a head, and wide spread; metal is under 1 %. Wrapped or inverted "
        "numbers put air there.",
    ),
    Check(
        "no-negative",
        _no_negative,
        "under 0.2 % lie below 0, and some above 255",
        "Fat is at -100 HU, air at -1000: only pieces of one organ have neither. MR, PET and stored numbers have none.",
    ),
    Check(
        "no-tissue",
        _no_tissue,
        "under 0.5 % lie above -700 HU, or under a fifth of these in -200..300",
        "Fat, water and organs are 69 % or more of what is not air in all scans at hand, 33 % in a phantom of water.",
    ),
    Check(
        "cut-off",
        _cut_off,
        f"5 % share one lowest value above {MODEL_HU[0]:g} HU, or 1 % one highest value below {MODEL_HU[1]:g} HU",
        "The network reads -175 to 250 HU: what is cut there is not what it was trained on.",
    ),
)
CHECKS: Sequence[Check[Any]] = (*GEOMETRY_CHECKS, *FILL_CHECKS, *DISTRIBUTION_CHECKS)

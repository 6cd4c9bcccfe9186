"""What `bench.findings` does to scans and masks, with the codes that should tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from umlite.results.statistics import Statistics

Masks = dict[str, np.ndarray]
TURNED = ("sides-swapped", "front-back-swapped", "head-feet-swapped", "body-size")


@dataclass(frozen=True, eq=False)
class Case:
    """A scan in RAS order with its masks and numbers: all that a fault starts from."""

    name: str
    hu: np.ndarray
    affine: np.ndarray
    masks: Masks
    numbers: Statistics

    def ml(self, name: str) -> float:
        return next((c.volume_ml for c in self.numbers.classes if c.name == name), 0.0)

    def whole(self, name: str, least_ml: float) -> bool:
        return any(c.name == name and c.complete and c.volume_ml >= least_ml for c in self.numbers.classes)

    @property
    def height_mm(self) -> float:
        return float(self.affine[2, 2] * self.hu.shape[2])

    def steps(self, mm: tuple[float, float, float]) -> tuple[int, int, int]:
        x, y, z = (round(m / self.affine[a, a]) for a, m in enumerate(mm))
        return x, y, z

    def moved(self, name: str, mm: tuple[float, float, float]) -> np.ndarray:
        """A mask moved by some mm, without what leaves the scan."""
        moved = np.zeros_like(self.masks[name])
        there = np.argwhere(self.masks[name]) + self.steps(mm)
        there = there[((there >= 0) & (there < self.hu.shape)).all(axis=1)]
        moved[tuple(there.T)] = True
        return moved


@dataclass(frozen=True)
class ScanFault:
    """Something done to a scan before it is segmented.

    codes: any of them tells it. change: new voxels and affine. fits: whether the case can show it. again: whether the
    network runs again; else the masks of the good scan stay, since the fault shows in the scan's values.
    """

    codes: tuple[str, ...]
    change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    fits: Callable[[Case], bool] = lambda _case: True
    again: bool = True


@dataclass(frozen=True)
class MaskFault:
    """Something done to masks. codes, fits: see `ScanFault`. change: masks to replace."""

    codes: tuple[str, ...]
    change: Callable[[Case], Masks]
    fits: Callable[[Case], bool]


def flipped(axis: int) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    return lambda hu, affine: (np.ascontiguousarray(np.flip(hu, axis)), affine)


def spaced(x: float, y: float, z: float) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    return lambda hu, affine: (hu, affine @ np.diag([x, y, z, 1]))


def valued(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], tuple]:
    return lambda hu, affine: (change(hu.astype(np.float32)), affine)


def _noisy(hu: np.ndarray) -> np.ndarray:
    return (hu + np.random.default_rng(0).normal(0, 80, hu.shape)).round()


def _has_liver(case: Case) -> bool:
    return case.ml("liver") >= 200


def _is_high(case: Case) -> bool:
    return _has_liver(case) and case.height_mm >= 80


SCAN_FAULTS: dict[str, ScanFault] = {
    "left and right reversed": ScanFault(("sides-swapped",), flipped(0), _has_liver),
    "head and feet reversed": ScanFault(("head-feet-swapped",), flipped(2), _is_high),
    "front and back reversed": ScanFault(("front-back-swapped",), flipped(1), _is_high),
    "axes x and z exchanged": ScanFault(
        TURNED,
        lambda hu, affine: (np.ascontiguousarray(hu.transpose(2, 1, 0)), np.diag(affine.diagonal()[[2, 1, 0, 3]])),
        _is_high,
    ),
    "slices called twice as far apart": ScanFault(("body-size",), spaced(1, 1, 2), lambda c: c.height_mm >= 200),
    "every second slice lost": ScanFault(
        ("body-size",), lambda hu, affine: (np.ascontiguousarray(hu[:, :, ::2]), affine), lambda c: c.height_mm >= 300
    ),
    "pixels called 1.8 times as large": ScanFault(("body-size",), spaced(1.8, 1.8, 1), _is_high),
    "noise of 80 HU": ScanFault(("noise",), valued(_noisy), _has_liver),
    "offset of 1024 lost": ScanFault(
        ("offset-lost", "no-negative"), valued(lambda hu: np.clip(hu + 1024, 0, 4095)), again=False
    ),
    "offset of 1024 lost, signed": ScanFault(("offset-lost", "no-negative"), valued(lambda hu: hu + 1024), again=False),
    "offset added twice": ScanFault(("offset-twice",), valued(lambda hu: hu - 1024), again=False),
    "windowed to 0..255": ScanFault(
        ("8-bit",), valued(lambda hu: ((np.clip(hu, -160, 240) + 160) / 400 * 255).round()), again=False
    ),
    "normalised to 0..1": ScanFault(
        ("normalised",), valued(lambda hu: (np.clip(hu, -160, 240) + 160) / 400), again=False
    ),
    "cut to -100..300": ScanFault(("cut-off",), valued(lambda hu: np.clip(hu, -100, 300)), again=False),
}


def _swapped(one: str, other: str) -> Callable[[Case], Masks]:
    return lambda case: {one: case.masks[other], other: case.masks[one]}


def _broken(case: Case) -> Masks:
    """The spleen without its middle fifth."""
    mask = case.masks["spleen"].copy()
    planes = np.flatnonzero(mask.any(axis=(0, 1)))
    middle, half = (planes[0] + planes[-1]) // 2, max(1, len(planes) // 10)
    mask[:, :, middle - half : middle + half] = False
    return {"spleen": mask}


def _slice_of_liver(case: Case) -> Masks:
    mask = case.masks["liver"].copy()
    per_plane = np.cumsum(mask.sum(axis=(1, 2)))
    mask[: int(np.searchsorted(per_plane, 0.85 * per_plane[-1]))] = False
    return {"liver": mask}


def _strayed(case: Case) -> Masks:
    """A ball of 20 mm in the left upper corner of the scan as a liver tumour."""
    ball = np.zeros_like(case.masks["liver"])
    places = np.stack(
        np.meshgrid(*[np.arange(n) for n in ball.shape], indexing="ij", sparse=False), -1, dtype=np.float32
    )
    centre = np.array(ball.shape) * (0.1, 0.8, 0.5)
    return {"liver_tumor": (((places - centre) * case.affine.diagonal()[:3]) ** 2).sum(-1) < 100}


def _all_moved(mm: tuple[float, float, float]) -> Callable[[Case], Masks]:
    return lambda case: {name: case.moved(name, mm) for name in case.masks}


def _both(one: str, other: str) -> Callable[[Case], bool]:
    return lambda case: case.ml(one) >= 30 and case.ml(other) >= 30


def _none(name: str) -> Callable[[Case], Masks]:
    return lambda case: {name: np.zeros_like(case.masks[name])}


def _has_spleen(case: Case) -> bool:
    return case.whole("spleen", 60)


MASK_FAULTS: Mapping[str, MaskFault] = {
    "kidneys exchanged": MaskFault(
        ("pair-swapped",), _swapped("right_kidney", "left_kidney"), _both("right_kidney", "left_kidney")
    ),
    "lungs exchanged": MaskFault(
        ("pair-swapped",), _swapped("right_lung", "left_lung"), _both("right_lung", "left_lung")
    ),
    "liver and spleen exchanged": MaskFault(
        ("sides-swapped", "volume-implausible"), _swapped("liver", "spleen"), _both("liver", "spleen")
    ),
    "spleen lost": MaskFault(("absent-in-view",), _none("spleen"), _has_spleen),
    "left kidney lost": MaskFault(("absent-in-view",), _none("left_kidney"), lambda c: c.whole("left_kidney", 60)),
    "spleen broken in two": MaskFault(("in-pieces",), _broken, _has_spleen),
    "a second spleen": MaskFault(
        ("in-pieces",),
        lambda case: {"spleen": case.masks["spleen"] | case.moved("spleen", (150, 0, 0))},
        lambda case: _has_spleen(case) and case.ml("liver") >= 200,
    ),
    "a sixth of the liver": MaskFault(("volume-implausible",), _slice_of_liver, lambda case: case.whole("liver", 900)),
    "all masks 80 mm too high": MaskFault(
        ("hu-implausible",), _all_moved((0, 0, 80)), lambda case: case.ml("liver") >= 200 and case.height_mm >= 200
    ),
    "stomach on the spleen": MaskFault(
        ("overlap",), lambda case: {"stomach": case.masks["stomach"] | case.masks["spleen"]}, _has_spleen
    ),
    "liver tumour outside the liver": MaskFault(("lesion-outside",), _strayed, _has_liver),
}

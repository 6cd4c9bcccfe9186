"""Counts of one class, collected while scan and masks are read a few planes at a time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from umlite.masks.bitmask import Box
from umlite.masks.components import Components, Labels, Stack
from umlite.masks.extent import Places
from umlite.masks.surfels import surfel_areas, surfel_codes
from umlite.results.intensities import Histogram
from umlite.volume.reading import Scan

Hu = npt.NDArray[np.int16] | npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class ClassTally:
    """Counts of one class: HU, places along each axis, components, surface.

    Args:
        scan: the scan whose voxels are counted.
        surface: whether to keep the places of voxels at the surface.
    """

    def __init__(self, scan: Scan, *, surface: bool) -> None:
        self.histogram = Histogram(scan.voxels.ends(), scan.voxels.dtype == np.int16)
        self.profiles: tuple[Ints, Ints, Ints] = tuple(np.zeros(n, np.int64) for n in scan.shape)  # type: ignore[assignment]
        self.components = Components()
        self._sizes: list[Ints] = []
        self._codes = np.zeros(256, np.int64)
        self._surface: list[tuple[Places, Labels]] | None = [] if surface else None

    def add(self, mask: npt.NDArray[np.bool_], hu: Hu, box: Box) -> Labels:
        """Count the voxels of the class in the next planes: at least one, all inside `box`.

        Returns:
            Provisional labels of the components, of the mask's shape.
        """
        self.histogram.add(hu[mask])
        for axis, (profile, along) in enumerate(zip(self.profiles, box, strict=True)):
            profile[along] += np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis))
        labels, stacks = self.components.add(mask, box)
        self._sizes.append(np.bincount(labels[mask]))
        self._count_surface(stacks)
        return labels

    def finish(self) -> None:
        """Finish counts that depend on the next planes, when there are none."""
        self._count_surface(self.components.finish())

    @property
    def voxels(self) -> int:
        """Number of voxels counted."""
        return int(self.profiles[0].sum())

    def component_voxels(self) -> Ints:
        """Number of voxels of each component, in the order in which they were met."""
        numbers, count = self.components.numbers()
        voxels = np.zeros(count, np.int64)
        for sizes in self._sizes:
            labels = np.flatnonzero(sizes)
            np.add.at(voxels, numbers[labels], sizes[labels])
        return voxels

    def surface_mm2(self, axes_mm: npt.NDArray[np.float64]) -> float:
        """Area of the surface, on a grid with these steps as columns."""
        return float(surfel_areas(axes_mm) @ self._codes)

    def surface(self) -> tuple[Places, Labels]:
        """Voxels with a face neighbour outside the class, [n, 3], and their provisional labels, [n]."""
        kept = self._surface or [(np.zeros((0, 3), np.int32), np.zeros(0, np.int32))]
        return np.concatenate([places for places, _ in kept]), np.concatenate([labels for _, labels in kept])

    def _count_surface(self, stacks: Iterable[Stack]) -> None:
        for stack in stacks:
            codes = surfel_codes(stack.labels[:, :, 1:] > 0)
            self._codes += np.bincount(codes[(codes > 0) & (codes < 255)], minlength=256)
            if self._surface is not None:
                self._surface.append(stack.surface_voxels())

"""The result of one scan: masks, probabilities, volumes, warnings and notes."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from umlite.class_table import ClassTable
from umlite.classes import AnatomyClass
from umlite.errors import OutputError, RequestError
from umlite.files import output_path
from umlite.masks.on_scan import MasksOnScan, ResampledMasks
from umlite.masks.probability_on_scan import STEPS
from umlite.outputs.file_set import Files, together
from umlite.results.details import Details
from umlite.results.label_map import LabelMap
from umlite.results.probabilities import Probabilities
from umlite.results.writing import is_label_map, write_label_map, write_masks, write_probabilities
from umlite.sweep.runner import WindowCounts
from umlite.volume.reading import Scan
from umlite.weights.model_card import ModelCard

_OTHER_ENDINGS = (".umlite.nii.gz", ".seg.nrrd", ".dcm")


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Masks of one scan on its own grid.

    Args:
        scan: the scan that was segmented.
        classes: requested classes in the order of the request.
        masks: their masks.
        windows: how many windows ran, were reused, and exist.
        timings: seconds of the steps "read", "prepare", "windows" and "postprocess". Masks are resampled to the scan's
            grid while they are written.
        warnings: sentences about the scan or the weights that a user should know.
        notes: sentences on how it was computed, and about post-processing rules that could not be applied.
        card: describes the weights.
        undecided_voxels: voxels of the model's grid whose result could differ with all windows; 0 unless adaptive.
        probabilities: None unless they were requested.
        details: what statistics tell of lesions beyond the masks; None unless they were requested.
        kept_shares: share of each class's predicted voxels that post-processing kept; see
            `umlite.results.details.kept_shares`.
    """

    scan: Scan
    classes: tuple[AnatomyClass, ...]
    masks: MasksOnScan
    windows: WindowCounts
    timings: dict[str, float]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    card: ModelCard
    undecided_voxels: int = 0
    probabilities: Probabilities | None = None
    details: Details | None = None
    kept_shares: Mapping[str, float] = field(default_factory=dict)

    def mask(self, name: str) -> np.ndarray:
        """Mask of one class.

        Args:
            name: name, alias or number of the class, as in a request.

        Returns:
            Bool [X, Y, Z] on the scan's grid.

        Raises:
            RequestError: the class was not requested.
        """
        return self.masks.mask(self._only(name))

    def probability(self, name: str) -> np.ndarray:
        """Probability of one class before post-processing.

        Args:
            name: name, alias or number of the class, as in a request.

        Returns:
            Float32 [X, Y, Z] in [0, 1] on the scan's grid, in steps of 1 / 255.

        Raises:
            RequestError: the class, or probabilities, were not requested.
        """
        name = self._only(name)
        return self._soft().on_scan(name)[:, :, :].astype(np.float32) / np.float32(STEPS)

    @property
    def affine(self) -> np.ndarray:
        """Affine of the scan, float64 [4, 4], from voxel index to RAS mm."""
        return self.scan.affine

    @property
    def computed(self) -> ResampledMasks:
        """The masks as they were computed, on the model's grid. Raises RequestError for a result from a file."""
        if not isinstance(self.masks, ResampledMasks):
            raise RequestError("A result from a file has no masks on the model's grid. Segment the scan again.")
        return self.masks

    @functools.cached_property
    def voxels(self) -> dict[str, int]:
        """Number of voxels of each class on the scan's grid, by canonical name."""
        return self.masks.counts()

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume of each class in millilitres, by canonical name."""
        return {name: count * self.scan.voxel_volume_ml for name, count in self.voxels.items()}

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> list[Path]:
        """Write a label map if `path` ends in .nii or .nii.gz, else a folder with one mask per class.

        Args:
            path: file or folder.
            overwrite: whether existing files may be replaced.

        Returns:
            The files written.

        Raises:
            OutputError: a file cannot be written, or exists and must not be replaced. No partial file stays.
        """
        path = Path(path)
        if path.name.lower().endswith(_OTHER_ENDINGS):
            raise OutputError(
                f"Cannot write {path}: expected a folder, or a label map's name, which ends in .nii or .nii.gz. Other "
                "formats are products of a run.",
                about="output",
            )
        save = self.save_label_map if is_label_map(path) else self.save_masks
        return save(path, overwrite=overwrite)

    def save_masks(self, folder: Path, *, overwrite: bool = True) -> list[Path]:
        """Write one uint8 mask per class, folder/<class>.nii.gz, all or none. Raises OutputError."""
        folder = output_path(folder)
        with together(folder, overwrite=overwrite) as files:
            return self.add_masks(files, folder)

    def save_label_map(self, path: Path, *, overwrite: bool = True) -> list[Path]:
        """Write published indices, tumours over organs, with the names inside the file. Raises OutputError."""
        path = output_path(path)
        with together(path.parent, overwrite=overwrite) as files:
            return self.add_label_map(files, path)

    def save_probabilities(self, folder: Path, *, overwrite: bool = True) -> list[Path]:
        """Write folder/<class>_probability.nii.gz, all or none: uint8 steps of 1 / 255, which the header scales.

        Raises:
            OutputError: a file cannot be written.
            RequestError: probabilities were not requested.
        """
        self._soft()
        folder = output_path(folder)
        with together(folder, overwrite=overwrite) as files:
            return self.add_probabilities(files, folder)

    def add_masks(self, files: Files, folder: Path, names: Mapping[str, str] | None = None) -> list[Path]:
        """Write masks like `save_masks`, as part of a larger set of files. names: canonical name -> name to write."""
        written = self._named(names)
        return write_masks(files, folder, written, self.masks.slabs(), self.scan)

    def add_label_map(self, files: Files, path: Path, names: Mapping[str, str] | None = None) -> list[Path]:
        """Write a label map like `save_label_map`, as part of a larger set of files. names: as of `add_masks`."""
        written = self._named(names)
        labels = {c.index: (written[c.name], c.color) for c in self.classes}
        return [write_label_map(files, path, LabelMap(self.masks, self.classes), labels, self.scan)]

    def add_probabilities(self, files: Files, folder: Path, names: Mapping[str, str] | None = None) -> list[Path]:
        """Write probabilities like `save_probabilities`, as part of a larger set of files. names: as of `add_masks`."""
        soft, written = self._soft(), self._named(names)
        return write_probabilities(
            files, folder, ((new, soft.on_scan(name)) for name, new in written.items()), self.scan
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the masks, ready for JSON."""
        volumes = self.volumes_ml
        return {
            "scan": str(self.scan.path) if self.scan.path else self.scan.name,
            "weights": self.card.name,
            "classes": [
                {
                    "name": c.name,
                    "index": c.index,
                    "voxels": self.voxels[c.name],
                    "volume_ml": round(volumes[c.name], 3),
                }
                for c in self.classes
            ],
            "windows": asdict(self.windows),
            "undecided_voxels": self.undecided_voxels,
            "timings_s": {step: round(seconds, 3) for step, seconds in self.timings.items()},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "notice": self.card.notice,
        }

    def _named(self, names: Mapping[str, str] | None) -> dict[str, str]:
        return {c.name: names[c.name] if names else c.name for c in self.classes}

    def _only(self, name: str) -> str:
        found = ClassTable(self.card.classes).resolve([name])
        if len(found) != 1:
            raise RequestError(f"Expected the name of one class, found {name!r}, which stands for {len(found)}.")
        return found[0].name

    def _soft(self) -> Probabilities:
        if self.probabilities is None:
            raise RequestError("This result has no probabilities. Request them when segmenting.", about="probabilities")
        return self.probabilities

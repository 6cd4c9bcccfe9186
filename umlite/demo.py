"""The demonstration: segments a phantom or a scan with the bundled weights; masks, a Dice table and a picture."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from umlite.api import Segmentation, Segmenter
from umlite.dicom.reading import read_source
from umlite.errors import OutputError
from umlite.files import output_error
from umlite.outputs.file_set import Files, together
from umlite.products.pictures.preview import write_preview
from umlite.progress import Progress, no_progress
from umlite.results.metrics import dice

DEMO_SEED = 1_000_001  # a phantom that no training saw
SPACING_MM = (1.5, 1.5, 3.0)


@dataclass(frozen=True, eq=False)
class Demonstration:
    """The outcome of a demonstration.

    Args:
        result: the segmentation.
        truth: masks of the phantom by class; empty for a user's own scan.
        picture: file of the picture.
        scan: file of the scan.
        masks: folder of masks.
        seconds: seconds from reading the scan to masks.
    """

    result: Segmentation
    truth: dict[str, np.ndarray]
    picture: Path
    scan: Path
    masks: Path
    seconds: float

    def truth_ml(self) -> dict[str, float]:
        """True volume in millilitres of each class that the phantom has, by name."""
        ml = self.result.scan.voxel_volume_ml
        return {name: float(mask.sum()) * ml for name, mask in self.truth.items() if mask.any()}

    def dice(self) -> dict[str, float]:
        """Dice of each class that the phantom has, by name."""
        return {
            c.name: dice(self.result.mask(c.name), self.truth[c.name])
            for c in self.result.classes
            if c.name in self.truth and self.truth[c.name].any()
        }


def run_demo(
    folder: Path,
    *,
    scan: Path | None = None,
    seed: int = DEMO_SEED,
    weights: str = "demo",
    overwrite: bool = False,
    progress: Progress = no_progress,
    say: Callable[[str], None] = lambda _text: None,
) -> Demonstration:
    """Segment a phantom or a scan, and write the scan, the masks and a picture.

    Args:
        folder: where everything goes; created if needed.
        scan: a scan's file, or a folder or zip archive of one DICOM series; None for a phantom.
        seed: of the phantom.
        weights: an installed name or a .safetensors file.
        overwrite: whether an existing demonstration may be replaced.
        progress: called with the number of windows done and the number of all windows.
        say: gets a sentence before each longer step.

    Raises:
        OutputError: the folder cannot be written, or holds a demonstration already.
        UmliteError: whatever `Segmenter` and `Segmenter.segment` raise.
    """
    if not overwrite and any(os.path.lexists(folder / name) for name in ("scan.nii.gz", "masks", "picture.png")):
        raise OutputError(
            f"{folder} holds a demonstration already. Choose another folder, or allow replacing it.",
            about=("overwrite", "output"),
        )
    segmenter = Segmenter(weights, device="cpu")
    truth: dict[str, np.ndarray] = {}
    with together(folder, overwrite=overwrite) as files:
        place = scan or folder / "scan.nii.gz"
        source: Path | nib.Nifti1Image = place
        if scan is None:
            from umlite.phantom import make_phantom

            say(f"Making a phantom (seed {seed})")
            phantom = make_phantom(seed, SPACING_MM)
            source, truth = phantom.image(), phantom.masks
            _save_scan(files, place, source)
        say(f"Segmenting {place.name}")
        start = time.perf_counter()
        read = read_source(source)
        result = segmenter.segment(read, progress=progress)
        seconds = time.perf_counter() - start
        result.add_masks(files, folder / "masks")
        picture = folder / "picture.png"
        write_preview(files, picture, result, result.card.notice)
    return Demonstration(result, truth, picture, place, folder / "masks", seconds)


def _save_scan(files: Files, path: Path, image: nib.Nifti1Image) -> None:
    try:
        nib.save(image, files.new(path))
    except OSError as error:
        raise output_error(error, path) from error

"""Scans that `bench.extension` teaches and judges with: phantoms, and parts of real scans."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from recipes.demo_weights.patients import load_scan, load_truth, named
from umlite.extension.labelled import Labelled, find_labelled
from umlite.phantom import make_phantom
from umlite.volume.reading import read_scan

FIRST_SEED = 2_000_000  # phantoms that no training saw
SPACING_MM = (2.0, 2.0, 4.0)
PARTS, PARTS_ALONE = 2, 4
"""Of every real scan, one above the other, so that one patient gives scans to learn from and one to stop by; and of
the only one with a class, whose parts judge too."""
EXAMPLE = "example_ct"
STRUCTURES = {
    "liver": ("liver",),
    "aorta": ("aorta",),
    "right_lung": ("lung_lower_lobe_right", "lung_middle_lobe_right", "lung_upper_lobe_right"),
}
PATIENTS = {
    "liver": (EXAMPLE,),
    "aorta": (EXAMPLE, "totalseg_aorta"),
    "right_lung": (EXAMPLE, "elastix_lung", "slicerio_ctchest"),
}


@dataclass(frozen=True)
class Fold:
    """Scans to learn a class from, and others that judge. judge: what the judges are called."""

    scans: Sequence[Labelled]
    judges: Sequence[Labelled]
    judge: str


def of_phantoms(folder: Path, classes: Sequence[str], name: str, counts: Sequence[int], judges: int) -> list[Fold]:
    """The first phantoms to learn from, one fold per count; the judges come after the most of them."""
    draw_phantoms(folder, max(counts) + judges, classes)
    scans = find_labelled(folder, name)[0]
    judging = [one for one in scans if int(one.name) >= max(counts)]
    return [Fold([one for one in scans if int(one.name) < count], judging, f"{judges} phantoms") for count in counts]


def draw_phantoms(folder: Path, count: int, classes: Sequence[str]) -> None:
    """Labelled phantoms as folders of cases, those that are not there yet."""
    for n in range(count):
        if (folder / f"{n:03d}" / "ct.nii.gz").exists():
            continue
        phantom = make_phantom(FIRST_SEED + n, SPACING_MM)
        empty = np.zeros(phantom.hu.shape, bool)
        masks = {name: phantom.masks.get(name, empty) for name in classes}
        write_case(folder / f"{n:03d}", np.asarray(phantom.image().dataobj), phantom.affine, masks)


def of_patients(data: Path, folder: Path, name: str) -> list[Fold]:
    """Every patient judges once, whole; parts of the others are learned from. Of one patient alone, the parts judge.

    data: the folder that recipes.demo_weights.patients describes. name: one of PATIENTS.
    """
    alone = len(PATIENTS[name]) == 1
    for patient in PATIENTS[name]:
        hu, mask, affine = labelled_part(data, patient, name)
        write_case(folder / name / "whole" / patient, hu, affine, {name: mask})
        shown = np.flatnonzero(mask.any((0, 1)))
        first, last = (shown[0], shown[-1] + 1) if alone else (0, hu.shape[2])
        cuts = np.linspace(first, last, (PARTS_ALONE if alone else PARTS) + 1).astype(int)
        for n, (low, high) in enumerate(itertools.pairwise(cuts.tolist())):
            moved = affine.copy()
            moved[:3, 3] += low * affine[:3, 2]
            case = folder / name / "parts" / f"{patient}_{n}"
            write_case(case, hu[..., low:high], moved, {name: mask[..., low:high]})
    parts = find_labelled(folder / name / "parts", name)[0]
    judges = parts if alone else find_labelled(folder / name / "whole", name)[0]
    return [Fold([one for one in parts if not one.name.startswith(j.name)], [j], j.name) for j in judges]


def labelled_part(
    data: Path, patient: str, name: str
) -> tuple[NDArray[np.int16], NDArray[np.bool_], NDArray[np.float64]]:
    """The part of a real scan whose labels are known: HU [X, Y, Z], the mask of a class, the affine."""
    if patient == EXAMPLE:
        return example_part(data, STRUCTURES[name])
    about = named(patient)
    scan = load_scan(about, data)
    masks, covered = load_truth(about, scan, data)
    found = [np.flatnonzero(covered.any(tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(places[0], places[-1] + 1) for places in found)
    affine = scan.affine.copy()
    affine[:3, 3] = (affine @ [*(part.start for part in box), 1])[:3]
    return scan.hu[box].astype(np.int16), masks[name][box], affine


def example_part(
    data: Path, structures: Sequence[str]
) -> tuple[NDArray[np.int16], NDArray[np.bool_], NDArray[np.float64]]:
    """The whole of example_ct: HU [X, Y, Z], the mask of some of its structures together, the affine."""
    scan, numbers = read_scan(data / "example_ct.nii.gz"), read_scan(data / "example_structures.nii.gz")
    known = json.loads((data / "example_structures.json").read_text())
    values = [int(value) for value, about in known.items() if about["name"] in structures]
    return scan.hu.astype(np.int16), np.isin(numbers.hu, values), scan.affine


def write_case(
    case: Path, hu: NDArray[np.integer], affine: NDArray[np.float64], masks: dict[str, NDArray[np.bool_]]
) -> None:
    """A scan and its masks as a folder of `umlite extend`; the scan comes last, so that its file means all is there."""
    (case / "segmentations").mkdir(parents=True, exist_ok=True)
    for name, mask in masks.items():
        nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), case / "segmentations" / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image(hu.astype(np.int16), affine), case / "ct.nii.gz")

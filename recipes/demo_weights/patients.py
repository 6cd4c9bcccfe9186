"""Real scans that the demo weights are trained on or measured on: where they lie, what is labelled, who shares them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from umlite.dicom.reading import read_source
from umlite.errors import InputError
from umlite.volume.reading import Scan, read_scan

Mask = NDArray[np.bool_]

LABELS, ANSWERS, NEVER = "labels", "own answers", "never"
"""What a scan was trained on with: its labels (and answers elsewhere), cleaned answers alone, or not at all."""

PELVIC = ("rectum", "bladder", "prostate", "left_head_of_femur", "right_head_of_femur")
ABDOMINAL = (
    *("spleen", "right_kidney", "left_kidney", "gallbladder", "liver", "stomach", "pancreas", "duodenum", "colon"),
    *("portal_vein_and_splenic_vein", "right_adrenal_gland", "left_adrenal_gland", "hepatic_vessel", "intestine"),
    *("celiac_trunk", "kidney_tumor", "liver_tumor", "pancreas_tumor", "colon_tumor", "kidney_cyst"),
)
LESIONS_BELOW = ("kidney_tumor", "liver_tumor", "pancreas_tumor", "colon_tumor", "kidney_cyst", "hepatic_vessel_tumor")
THORACIC = ("right_lung", "left_lung", "lung_tumor")


@dataclass(frozen=True)
class Labels:
    """The labels of one class.

    Args:
        file: a label map in the folder of the patient's series.
        values: the numbers that belong to the class.
    """

    file: str
    values: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Patient:
    """One real scan.

    Args:
        name: of the scan.
        folder: below the folder of the data.
        scan: file in it; empty for a DICOM series.
        licence: it is shared under.
        trained: LABELS, ANSWERS or NEVER.
        labels: by class. They may cover a part of the scan; elsewhere nothing is known.
        absent: classes that the scan does not show.
        unsure: classes about which nothing is believed without labels.
        grown: an organ of one tissue, and the classes that it is taken for: see `answers.grow`.
        height: share of the scan that is used, from its lowest slice.
    """

    name: str
    folder: str
    scan: str
    licence: str
    trained: str
    labels: Mapping[str, Labels] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    grown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    height: float = 1.0


PATIENTS = (
    Patient(
        "totalseg_aorta",
        "series/totalseg_aorta",
        "ct.nii.gz",
        "Apache-2.0",
        LABELS,
        {"aorta": Labels("aorta.nii.gz"), "celiac_trunk": Labels("celiac_trunk.nii.gz")},
        (*PELVIC, *LESIONS_BELOW, "lung_tumor"),
        ("right_kidney", "left_kidney"),
        {"spleen": ("left_kidney",)},
    ),
    Patient(
        "lung1",
        "series/pyradiomics_lung",
        "lung1_image.nrrd",
        "BSD-3-Clause",
        LABELS,
        {"lung_tumor": Labels("lung1_label.nrrd")},
        (*PELVIC, *LESIONS_BELOW),
    ),
    Patient(
        "lung2",
        "series/pyradiomics_lung",
        "lung2_image.nrrd",
        "BSD-3-Clause",
        NEVER,
        {"lung_tumor": Labels("lung2_label.nrrd")},
        PELVIC,
    ),
    Patient(
        "slicerio_ctchest",
        "series/slicerio_ctchest",
        "CTChest4.nrrd",
        "MIT",
        LABELS,
        {"right_lung": Labels("Segmentation.seg.nrrd", (5,)), "left_lung": Labels("Segmentation.seg.nrrd", (6,))},
        (*PELVIC, *LESIONS_BELOW, "lung_tumor"),
    ),
    Patient(
        "elastix_lung",
        "series/elastix_lung",
        "3DCT_lung.mha",
        "Apache-2.0",
        LABELS,
        {"right_lung": Labels("3DCT_lung_baseline_mask.mha")},
        (*PELVIC, *LESIONS_BELOW, "left_lung", "lung_tumor"),
        ("gallbladder", "pancreas", "duodenum", "colon"),
    ),
    Patient(
        "cptac_pda_abdomen",
        "series/cptac_pda_abdomen",
        "",
        "CC BY 3.0",
        ANSWERS,
        absent=(*PELVIC, "lung_tumor", "colon_tumor"),
        unsure=("pancreas_tumor", "liver_tumor", "kidney_tumor", "kidney_cyst"),
    ),
    Patient(
        "example_ct_dicom",
        "example_ct_dicom",
        "",
        "Apache-2.0",
        ANSWERS,
        absent=(*PELVIC, *LESIONS_BELOW, *THORACIC),
        unsure=("left_kidney", "colon", "intestine"),
        grown={"spleen": ("bladder", "liver")},
    ),
    Patient(
        "moose_neck",
        "series/moose_neck",
        "CT_enhance_pet_1446_neck_slice.nii.gz",
        "Apache-2.0",
        ANSWERS,
        absent=(*ABDOMINAL, *PELVIC, *THORACIC, "aorta", "postcava"),
    ),
    Patient(
        "ibsi_sts",
        "series/ibsi_sts/STS_044",
        "CT_image.nii.gz",
        "CC BY 3.0",
        ANSWERS,
        absent=(*ABDOMINAL, *PELVIC, *THORACIC, "aorta", "postcava", "esophagus"),
        height=0.45,
    ),
)


def named(name: str) -> Patient:
    """The patient of a name. Raises InputError for another name."""
    for patient in PATIENTS:
        if patient.name == name:
            return patient
    raise InputError(f"Expected one of {', '.join(p.name for p in PATIENTS)}, found {name!r}.")


def load_scan(patient: Patient, data: Path) -> Scan:
    """A patient's scan. Raises InputError where it is missing."""
    place = data / patient.folder / patient.scan
    if place.suffix == ".mha":
        voxels, affine = _read(place)
        return read_scan(nib.Nifti1Image(voxels.astype(np.int16), affine))
    return read_source(place)


def load_truth(patient: Patient, scan: Scan, data: Path) -> tuple[dict[str, Mask], Mask]:
    """The labels of a patient on the scan's grid.

    Returns:
        A mask by class, and the part of the scan that the labels cover, bool [X, Y, Z] each.

    Raises:
        InputError: a file is missing, or lies on no part of the scan's grid.
    """
    masks, covered = {}, np.zeros(scan.shape, np.bool_)
    for name, labels in patient.labels.items():
        numbers, affine = _read(data / patient.folder / labels.file)
        start = _place_in(scan, affine, numbers.shape, labels.file)
        part = tuple(slice(a, a + n) for a, n in zip(start, numbers.shape, strict=True))
        masks[name] = np.zeros(scan.shape, np.bool_)
        masks[name][part] = np.isin(numbers, labels.values)
        covered[part] = True
    return masks, covered


def _place_in(scan: Scan, affine: NDArray[np.float64], shape: Iterable[int], file: str) -> list[int]:
    """Index of the scan's voxel that is the first of a part of its grid."""
    start = np.linalg.solve(scan.affine, affine)
    whole = np.round(start[:3, 3])
    fits = np.allclose(start[:3, :3], np.eye(3), atol=1e-2) and np.allclose(start[:3, 3], whole, atol=0.1)
    if not fits or any(a < 0 or a + n > m for a, n, m in zip(whole, shape, scan.shape, strict=True)):
        raise InputError(f"Expected {file} on a part of the grid of {scan.name}, found another grid.")
    return [int(a) for a in whole]


def _read(path: Path) -> tuple[NDArray, NDArray[np.float64]]:
    """Voxels [X, Y, Z] and RAS affine of a file in any format that SimpleITK reads."""
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"Cannot read {path}: expected the scans that patients.py lists.") from error
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine

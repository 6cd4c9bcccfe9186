"""Anatomical rules that make a network's answers into something to learn from, and images of it."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from recipes.demo_weights import answers
from recipes.demo_weights.patients import ANSWERS, LABELS, Labels, Patient, load_scan, load_truth
from recipes.demo_weights.real_scans import Lesson, RealScanSource, vary
from recipes.demo_weights.recipe import CLASSES
from umlite.errors import InputError
from umlite.training.image import class_bits

SHAPE = (48, 36, 20)
LIVER, SPLEEN, BLADDER = (CLASSES.index(name) for name in ("liver", "spleen", "bladder"))
LEFT, RIGHT = (slice(8, 18), slice(8, 20), slice(4, 16)), (slice(28, 42), slice(8, 26), slice(2, 18))
"""Boxes in the body; the patient's right has the high x."""


@pytest.fixture
def hu() -> np.ndarray:
    """A body in air with a brighter organ on each side."""
    hu = np.full(SHAPE, -1000, np.float32)
    hu[3:45, 4:32] = -80
    hu[LEFT] = hu[RIGHT] = 110
    return hu


def probability(**boxes: tuple[slice, ...]) -> np.ndarray:
    p = np.full((len(CLASSES), *SHAPE), 0.01, np.float32)
    for name, box in boxes.items():
        p[CLASSES.index(name)][box] = 0.95
    return p


def test_what_cannot_be_there_is_known_to_be_absent(hu: np.ndarray) -> None:
    patient = Patient("a", "", "", "", ANSWERS, absent=("bladder",))
    table = (slice(10, 20), slice(0, 2), slice(2, 8))
    p = probability(liver=RIGHT, bladder=LEFT)
    p[LIVER][table] = 0.95
    present, known = answers.clean(patient, hu, p)
    assert present[LIVER][RIGHT].all()
    assert not present[LIVER][table].any()
    assert known[LIVER][table].all()
    assert known[BLADDER].all()
    assert not present[BLADDER].any()


def test_an_organ_on_the_wrong_side_or_too_small_is_unknown(hu: np.ndarray) -> None:
    patient, speck = Patient("a", "", "", "", ANSWERS), (slice(10, 12), slice(10, 12), slice(8, 10))
    present, known = answers.clean(patient, hu, probability(spleen=RIGHT, liver=speck))
    for organ, box in ((SPLEEN, RIGHT), (LIVER, speck)):
        assert not present[organ].any()
        assert not known[organ][box].any()


def test_an_organ_grows_into_what_it_was_taken_for(hu: np.ndarray) -> None:
    patient = Patient("a", "", "", "", ANSWERS, absent=("bladder",), grown={"spleen": ("bladder",)})
    front, back = (LEFT[0], slice(8, 11), LEFT[2]), (LEFT[0], slice(11, 20), LEFT[2])
    present, known = answers.clean(patient, hu, probability(spleen=front, bladder=back, liver=RIGHT))
    inner = (slice(10, 16), slice(10, 18), slice(6, 14))
    assert present[SPLEEN][inner].mean() > 0.95
    assert known[SPLEEN][inner].mean() > 0.95
    assert not present[BLADDER].any()
    assert not present[SPLEEN][RIGHT].any()


def test_lesions_are_never_taught_without_labels(hu: np.ndarray) -> None:
    tumor = CLASSES.index("liver_tumor")
    present, known = answers.clean(Patient("a", "", "", "", ANSWERS), hu, probability(liver=RIGHT, liver_tumor=RIGHT))
    assert not present[tumor].any()
    assert not known[tumor][RIGHT].any()


def test_labels_may_cover_a_part_of_the_scan(tmp_path: Path) -> None:
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    scan, part = np.zeros((60, 50, 40), np.int16), np.zeros((5, 6, 40), np.uint8)
    part[1:3, 2, 2] = 4
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ (4, 3, 0)
    nib.save(nib.Nifti1Image(scan, affine), tmp_path / "ct.nii.gz")
    nib.save(nib.Nifti1Image(part, moved), tmp_path / "labels.nii.gz")
    patient = Patient("a", "", "ct.nii.gz", "", LABELS, {"aorta": Labels("labels.nii.gz", (4,))})
    masks, covered = load_truth(patient, load_scan(patient, tmp_path), tmp_path)
    assert np.argwhere(masks["aorta"]).tolist() == [[5, 5, 2], [6, 5, 2]]
    assert covered[4:9, 3:9].all()
    assert covered.sum() == part.size


def test_labels_on_another_grid_are_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((60, 60, 60), np.int16), np.diag([2.0, 2, 2, 1])), tmp_path / "ct.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((6, 6, 6), np.uint8), np.diag([3.0, 3, 3, 1])), tmp_path / "labels.nii.gz")
    patient = Patient("a", "", "ct.nii.gz", "", LABELS, {"aorta": Labels("labels.nii.gz")})
    with pytest.raises(InputError, match="grid"):
        load_truth(patient, load_scan(patient, tmp_path), tmp_path)


def test_images_of_a_lesson_keep_what_is_unknown(hu: np.ndarray) -> None:
    present = np.zeros(SHAPE, np.uint32)
    present[RIGHT] = class_bits(["liver"], CLASSES)
    known = np.full(SHAPE, class_bits(["liver", "spleen"], CLASSES), np.uint32)
    lesson = Lesson(hu.astype(np.float16), present, known)
    lesions = class_bits([n for n in CLASSES if n.endswith(("tumor", "cyst"))], CLASSES)
    for seed in range(6):
        image = vary(lesson, CLASSES, 3.0, np.random.default_rng(seed))
        assert (image.present & ~lesions & ~class_bits(["liver"], CLASSES) == 0).all()
        assert (image.known & lesions & ~image.present == 0).all()  # painted lesions are known, others are not
        assert (image.present & class_bits(["liver"], CLASSES)).any()


def test_a_missing_lesson_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lessons"):
        RealScanSource(tmp_path, CLASSES, 3.0).make(0)

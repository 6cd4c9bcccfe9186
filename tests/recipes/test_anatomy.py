from __future__ import annotations

import numpy as np
import pytest

from recipes.demo_weights.anatomy import Anatomy, build_anatomy, class_of_structure, synthesise
from recipes.demo_weights.contrast import change_contrast
from recipes.demo_weights.lesions import paint_lesions
from umlite.class_table import ClassTable
from umlite.classes import PUBLISHED
from umlite.training.image import class_bits, unpack_bits


def test_structures_belong_to_classes() -> None:
    table = ClassTable(c.name for c in PUBLISHED)
    assert class_of_structure("urinary_bladder", table) == "bladder"
    assert class_of_structure("inferior_vena_cava", table) == "postcava"
    assert class_of_structure("lung_lower_lobe_left", table) == "left_lung"
    assert class_of_structure("femur_left", table) == ""
    assert class_of_structure("vertebrae_L1", table) == ""


def test_a_lesion_may_hide_in_its_host_and_nowhere_else(anatomy: Anatomy, classes: tuple[str, ...]) -> None:
    tumor = class_bits(["liver_tumor"], classes)
    assert not anatomy.known[1] & tumor
    assert all(anatomy.known[number] & tumor for number in (0, 2, 3, 4, 5))


def test_classes_without_a_structure_are_unknown_in_the_background() -> None:
    classes = ("liver", "prostate", "left_head_of_femur")
    hu, structures = np.zeros((4, 4, 4), np.float32), np.zeros((4, 4, 4), np.uint8)
    anatomy = build_anatomy(hu, structures, {1: "liver", 2: "femur_left"}, classes, spacing_mm=3)
    assert anatomy.known.tolist() == [0b001, 0b111, 0b011]


def test_images_are_reproducible_and_differ(anatomy: Anatomy) -> None:
    one, again, other = (synthesise(anatomy, 6, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(one.hu, again.hu)
    assert np.array_equal(one.present, again.present)
    assert one.hu.shape != other.hu.shape or not np.array_equal(one.hu, other.hu)


def test_contrast_follows_the_structure(anatomy: Anatomy) -> None:
    hu = change_contrast(anatomy.hu, anatomy.structures, anatomy.names, np.random.default_rng(0))
    for number in (1, 2, 3, 4):
        inside = anatomy.structures == number
        assert abs(np.median(hu[inside]) - np.median(anatomy.hu[inside])) > 1
    air = anatomy.hu < -900
    assert np.abs(hu - anatomy.hu)[air].mean() < 5


def test_painted_lesions_lie_in_their_host_and_are_known(anatomy: Anatomy, classes: tuple[str, ...]) -> None:
    present, known = anatomy.present[anatomy.structures], anatomy.known[anatomy.structures]
    painted = 0
    for seed in range(6):
        hu, found, now_known = paint_lesions(anatomy.hu, present, known, classes, 8, np.random.default_rng(seed))
        tumor = unpack_bits(found[None], len(classes))[0][classes.index("liver_tumor")]
        painted += tumor.any()
        assert not (tumor & (anatomy.structures != 1)).any()
        assert (now_known & class_bits(["liver_tumor"], classes)).all()
        assert np.array_equal(found & ~class_bits(["liver_tumor"], classes), present)
        if tumor.any():
            assert hu[tumor].mean() < anatomy.hu[tumor].mean()
    assert painted


def test_lesions_are_known_whatever_the_contrast(anatomy: Anatomy, classes: tuple[str, ...]) -> None:
    tumor = class_bits(["liver_tumor"], classes)
    for seed in range(6):  # about half with real HU
        image = synthesise(anatomy, 8, np.random.default_rng(seed))
        assert (image.known[image.known != 0] & tumor).all()


@pytest.mark.parametrize(("host_hu", "brighter"), [(30, True), (160, False)])
def test_kidney_tumours_are_brighter_than_a_native_kidney_only(host_hu: float, brighter: bool) -> None:
    names = ("right_kidney", "left_kidney", "kidney_tumor")
    present = np.full((20, 20, 20), class_bits(["left_kidney"], names), np.uint32)
    healthy = np.full(present.shape, host_hu, np.float32)
    painted = 0
    for seed in range(8):
        hu, found, _ = paint_lesions(healthy, present, present, names, 3, np.random.default_rng(seed))
        tumour = (found & class_bits(["kidney_tumor"], names)) != 0
        if tumour.any():
            painted += 1
            assert (float(np.median(hu[tumour])) > host_hu) == brighter
    assert painted

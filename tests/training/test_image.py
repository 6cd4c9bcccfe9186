from __future__ import annotations

import numpy as np

from umlite.training.image import class_bits, make_image, mirror, pack_masks, swap_sides, unpack_bits


def test_bits_hold_masks(classes: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    masks = {name: rng.random((5, 4, 3)) > 0.5 for name in classes}
    bits = pack_masks({**masks, "esophagus": np.ones((5, 4, 3), bool)}, classes)
    back = unpack_bits(bits[None], len(classes))[0]
    assert all(np.array_equal(back[place], masks[name]) for place, name in enumerate(classes))


def test_more_than_32_classes_take_wider_bits() -> None:
    names = [f"left_{k}" for k in range(20)] + [f"right_{k}" for k in range(20)]
    masks = {name: np.arange(40).reshape(40, 1, 1) == place for place, name in enumerate(names)}
    bits = pack_masks(masks, names)
    assert bits.dtype == np.uint64
    assert all(np.array_equal(unpack_bits(bits[None], 40)[0][k], masks[name]) for k, name in enumerate(names))
    assert class_bits(["right_19"], names) == 1 << 39
    assert swap_sides(bits, names)[39, 0, 0] == class_bits(["left_19"], names)


def test_class_bits_leave_out_other_models_classes(classes: tuple[str, ...]) -> None:
    assert class_bits(["spleen", "liver_tumor", "aorta"], classes) == 0b10010


def test_swap_sides_exchanges_left_and_right_only(classes: tuple[str, ...]) -> None:
    left, right, liver = (class_bits([n], classes) for n in ("left_kidney", "right_kidney", "liver"))
    bits = np.array([left, right, left | right, liver, liver | left, 0], np.uint32)
    assert swap_sides(bits, classes).tolist() == [right, left, left | right, liver, liver | right, 0]


def test_mirror_moves_voxels_and_renames_sides(classes: tuple[str, ...]) -> None:
    left = np.zeros((8, 6, 5), bool)
    left[1, 2:4, 2:4] = True
    hu = np.where(left, 200, 40).astype(np.float32)
    present = pack_masks({"left_kidney": left}, classes)
    known = np.full(left.shape, class_bits(["left_kidney", "spleen"], classes), np.uint32)
    seen = mirror(make_image(hu, present, known, len(classes)), classes)
    found = unpack_bits(seen.present[None], len(classes))[0]
    assert np.array_equal(found[classes.index("right_kidney")], left[::-1])
    assert not found[classes.index("left_kidney")].any()
    assert np.array_equal(seen.hu == 200, left[::-1])
    assert (seen.known == class_bits(["right_kidney", "spleen"], classes)).all()
    assert set(seen.centres) == {classes.index("right_kidney")}


def test_image_is_cut_to_what_is_not_air(classes: tuple[str, ...]) -> None:
    hu = np.full((9, 8, 7), -1000, np.float32)
    hu[2:6, 3:5, 1:7] = 0
    none = np.zeros(hu.shape, np.uint32)
    assert make_image(hu, none, none, len(classes)).hu.shape == (4, 2, 6)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umlite.classes import word_bytes
from umlite.errors import RequestError
from umlite.masks.bitmask import BitMask

SHAPE = (5, 3, 7)


def some_names(count: int) -> tuple[str, ...]:
    return tuple(f"class_{k}" for k in range(count))


def random_masks(count: int, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.random(shape) < rng.random() for name in some_names(count)}


def equal(found: BitMask, masks: dict[str, np.ndarray]) -> bool:
    return found.names == tuple(masks) and all(np.array_equal(found.mask(name), masks[name]) for name in masks)


@pytest.mark.parametrize(
    ("count", "dtypes"),
    [(1, "u4"), (32, "u4"), (33, "u8"), (64, "u8"), (65, "u8 u4"), (128, "u8 u8"), (200, "u8 " * 3 + "u4")],
)
def test_masks_survive_a_round_trip(count: int, dtypes: str) -> None:
    masks = random_masks(count)
    bits = BitMask.from_masks(masks)
    assert [word.dtype for word in bits.words] == dtypes.split()
    assert bits.shape == SHAPE
    assert equal(bits, masks)
    assert bits.mask("class_0").dtype == np.bool_


def test_bit_k_is_the_kth_class() -> None:
    bits = BitMask.zeros((1, 1, 2), some_names(40))
    bits.set_mask("class_0", np.array([[[True, False]]]))
    bits.set_mask("class_39", np.array([[[True, True]]]))
    assert bits.words[0].tolist() == [[[2**39 + 1, 2**39]]]


def test_set_mask_replaces_one_class_and_leaves_the_others() -> None:
    masks = random_masks(4)
    bits = BitMask.from_masks(masks)
    masks["class_2"] = ~masks["class_2"]
    bits.set_mask("class_2", masks["class_2"])
    assert equal(bits, masks)


def test_set_mask_inside_a_box_leaves_the_outside() -> None:
    masks = random_masks(3)
    bits = BitMask.from_masks(masks)
    box = (slice(1, 4), slice(0, 2), slice(3, 7))
    inside = ~masks["class_1"][box]
    masks["class_1"][box] = inside
    bits.set_mask("class_1", inside, box)
    assert equal(bits, masks)
    assert np.array_equal(bits.mask("class_1", box), inside)


def test_bits_are_held_not_copied_so_that_slabs_write_to_the_scan() -> None:
    scan = BitMask.zeros(SHAPE, some_names(2))
    slab = scan.part(np.s_[:, :, 2:4])
    slab.set_mask("class_1", np.ones((5, 3, 2), np.bool_))
    expected = np.zeros(SHAPE, np.bool_)
    expected[:, :, 2:4] = True
    assert equal(scan, {"class_0": np.zeros(SHAPE, np.bool_), "class_1": expected})


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_select_renumbers_in_the_order_asked_for(data: st.DataObject) -> None:
    masks = random_masks(data.draw(st.sampled_from([1, 5, 32, 33, 64, 65, 150])), seed=data.draw(st.integers(0, 99)))
    names = data.draw(st.lists(st.sampled_from(tuple(masks)), unique=True))
    bits = BitMask.from_masks(masks)
    selected = bits.select(names)
    assert [word.dtype.itemsize for word in selected.words] == list(word_bytes(len(names)))
    assert equal(selected, {name: masks[name] for name in names})
    assert not any(np.shares_memory(one, other) for one in selected.words for other in bits.words)
    assert equal(bits, masks)


@pytest.mark.parametrize("count", [33, 100])
@pytest.mark.parametrize("layout", ["C", "F", "reversed", "strided"])
def test_any_memory_layout(layout: str, count: int) -> None:
    masks = random_masks(count)
    arrange = {
        "C": np.ascontiguousarray,
        "F": np.asfortranarray,
        "reversed": lambda word: word[::-1, :, ::-1].copy()[::-1, :, ::-1],
        "strided": lambda word: np.repeat(word, 2, axis=2)[:, :, ::2],
    }
    view = BitMask.from_masks(masks).mapped(arrange[layout])
    assert equal(view, masks)
    assert equal(view.select(tuple(masks)[::-1]), dict(reversed(masks.items())))
    assert view.counts() == {name: int(mask.sum()) for name, mask in masks.items()}
    view.set_mask("class_32", np.asfortranarray(masks["class_0"]))
    assert equal(view, {**masks, "class_32": masks["class_0"]})


@pytest.mark.parametrize("count", [1, 2, 32, 64, 65, 200])
def test_where_any_class_is_and_where_two_are(count: int) -> None:
    masks = {name: mask & (np.random.default_rng(1).random(SHAPE) < 0.3) for name, mask in random_masks(count).items()}
    bits = BitMask.from_masks(masks)
    classes = np.sum(list(masks.values()), axis=0)
    assert np.array_equal(bits.any(), classes > 0)
    assert np.array_equal(bits.shared(), classes > 1)
    assert [group.names for group in bits.groups()] == [tuple(masks)[n : n + 64] for n in range(0, count, 64)]
    for axis in range(3):
        expected = {name: mask.any(axis=tuple({0, 1, 2} - {axis}), keepdims=True) for name, mask in masks.items()}
        assert equal(bits.along(axis), expected)


def test_counts_and_boxes() -> None:
    masks = {name: np.zeros(SHAPE, np.bool_) for name in ("nothing", "corner", "two_voxels", "all")}
    masks["corner"][4, 2, 6] = True
    masks["two_voxels"][1, 2, 3] = masks["two_voxels"][3, 0, 3] = True
    masks["all"][:] = True
    bits = BitMask.from_masks(masks)
    assert bits.counts() == {"nothing": 0, "corner": 1, "two_voxels": 2, "all": 105}
    assert bits.boxes() == {
        "corner": (slice(4, 5), slice(2, 3), slice(6, 7)),
        "two_voxels": (slice(1, 4), slice(0, 3), slice(3, 4)),
        "all": (slice(0, 5), slice(0, 3), slice(0, 7)),
    }


@pytest.mark.parametrize("shape", [(0, 3, 4), (1, 1, 1), (3, 0, 0)])
def test_tiny_and_empty_grids(shape: tuple[int, int, int]) -> None:
    masks = {"a": np.ones(shape, np.bool_), "b": np.zeros(shape, np.bool_)}
    bits = BitMask.from_masks(masks)
    assert equal(bits.select(["b", "a"]), {"b": masks["b"], "a": masks["a"]})
    assert bits.counts() == {"a": int(np.prod(shape)), "b": 0}
    assert set(bits.boxes()) == ({"a"} if np.prod(shape) else set())


def test_an_absent_class_is_named_with_those_that_are_there() -> None:
    bits = BitMask.zeros(SHAPE, ["liver", "spleen"])
    with pytest.raises(RequestError, match=r"'colon'.*liver, spleen"):
        bits.mask("colon")
    with pytest.raises(RequestError, match="'colon'"):
        bits.set_mask("colon", np.zeros(SHAPE, np.bool_))
    with pytest.raises(RequestError, match="'colon'"):
        bits.select(["liver", "colon"])


def test_repeated_names_are_refused() -> None:
    with pytest.raises(RequestError, match="more than once: liver"):
        BitMask.zeros(SHAPE, ["liver", "spleen", "liver"])


def test_arrays_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="uint32 array"):
        BitMask((np.zeros(SHAPE, np.uint64),), ("liver",))
    with pytest.raises(ValueError, match="uint64 array"):
        BitMask((np.zeros(SHAPE, np.uint32),), some_names(33))
    with pytest.raises(ValueError, match="uint64 and uint32 arrays"):
        BitMask((np.zeros(SHAPE, np.uint64),), some_names(65))
    with pytest.raises(ValueError, match="shape"):
        BitMask((np.zeros(SHAPE, np.uint64), np.zeros((5, 3, 8), np.uint32)), some_names(65))
    with pytest.raises(ValueError, match=r"shape \(3, 7\)"):
        BitMask((np.zeros((3, 7), np.uint32),), ("liver",))
    bits = BitMask.zeros(SHAPE, ["liver"])
    with pytest.raises(ValueError, match="Expected a bool mask"):
        bits.set_mask("liver", np.zeros((5, 3, 6), np.bool_))
    with pytest.raises(ValueError, match="got uint8"):
        bits.set_mask("liver", np.zeros(SHAPE, np.uint8))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one"):
        BitMask.from_masks({})


@pytest.mark.parametrize("count", [3, 40, 130])
@pytest.mark.parametrize("order", ["C", "F"])
def test_class_masks_look_like_their_arrays(count: int, order: str) -> None:
    masks = random_masks(count)
    masks["class_1"] = masks["class_1"] & (np.arange(SHAPE[2]) == 4)
    bits = BitMask.from_masks(masks).mapped(lambda word: np.array(word, order=order))
    for name, found in bits.class_masks(list(masks)[::-1]):
        expected = masks[name]
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found[:, :, 2:5], expected[:, :, 2:5])
        assert found.planes.tolist() == expected.any(axis=(0, 1)).tolist()
    with pytest.raises(RequestError, match="No mask of 'other'"):
        list(bits.class_masks(["other"]))

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from umlite.classes import PUBLISHED
from umlite.errors import RequestError
from umlite.masks.bitmask import BitMask
from umlite.masks.postprocessing import RULES, grow_host, needed_classes, postprocess

NAMES = tuple(c.name for c in PUBLISHED)
PORTAL_VEIN = "portal_vein_and_splenic_vein"
SHAPES = st.sampled_from([(1, 1, 1), (1, 5, 7), (6, 1, 9), (7, 6, 1), (2, 2, 2), (7, 5, 9), (13, 11, 12)])
BOX = np.ones((5, 5, 5), np.bool_)

Masks = dict[str, np.ndarray]


def components_of(mask: np.ndarray) -> list[np.ndarray]:
    """Largest first; of equal ones, the one met first in C order first."""
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    first_met = list(dict.fromkeys(labels[labels > 0].tolist()))
    assert len(first_met) == count
    return [labels == label for label in sorted(first_met, key=lambda label: -np.count_nonzero(labels == label))]


def union_of(masks: list[np.ndarray]) -> np.ndarray:
    return np.logical_or.reduce(masks)


def expected_mask(name: str, masks: Masks) -> np.ndarray:
    """The rules as the specification words them, on whole arrays, with scipy."""
    own, index = masks[name], NAMES.index(name) + 1
    if index in (10, 15, 28, 29, 30, 31, 32):
        pancreas = components_of(masks["pancreas"])
        if index == 10 and pancreas:
            own = own.copy()
            own[:, :, : np.nonzero(pancreas[0])[2].min()] = False
        return own
    if index in (16, 17):
        two = components_of(masks["right_lung"] | masks["left_lung"])[:2]
        if len(two) < 2:
            return own
        # Of equal means the larger one, which comes first, is the left lung.
        left, right = sorted(two, key=lambda lung: np.nonzero(lung)[0].mean())
        return right if index == 16 else left
    if index in (26, 27):
        hosts = [masks["right_kidney"], masks["left_kidney"]] if index == 26 else [masks["liver"]]
        kept = components_of(union_of(hosts))[: len(hosts)]
        if not kept:
            return own
        return own & ndimage.binary_dilation(ndimage.binary_closing(union_of(kept), BOX), BOX)
    return next(iter(components_of(own)), own)


def random_masks(shape: tuple[int, int, int], seed: int) -> Masks:
    """Every class at a density of its own: empty, single voxels, speckle, blobs, nearly full, full."""
    rng = np.random.default_rng(seed)
    masks = {}
    for name in NAMES:
        noise = rng.random(shape)
        if rng.random() < 0.3:
            noise = ndimage.uniform_filter(noise, 3)
            noise = (noise - noise.min()) / max(np.ptp(noise), 1e-9)
        masks[name] = noise < rng.choice([0, 0.01, 0.05, 0.1, 0.3, 0.6, 0.95, 1.1])
    return masks


def empty_masks(shape: tuple[int, int, int] = (20, 16, 18), names: tuple[str, ...] = NAMES) -> Masks:
    return {name: np.zeros(shape, np.bool_) for name in names}


def run(masks: Masks, requested: tuple[str, ...]) -> tuple[Masks, tuple[str, ...]]:
    cleaned, notes = postprocess(BitMask.from_masks(masks), requested)
    assert cleaned.names == requested
    return {name: cleaned.mask(name) for name in requested}, notes


def subjects(note: str) -> list[str]:
    """The classes that a note is about, which it begins with."""
    return re.split(" is | are | mostly ", note)[0].split(" and ")


@settings(max_examples=80, deadline=None)
@given(SHAPES, st.integers(0, 2**32 - 1))
def test_every_class_equals_the_rules_on_whole_arrays(shape: tuple[int, int, int], seed: int) -> None:
    masks = random_masks(shape, seed)
    cleaned, _ = run(masks, NAMES)
    for name in NAMES:
        assert np.array_equal(cleaned[name], expected_mask(name, masks)), name


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.integers(0, 2**32 - 1), st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
def test_a_class_is_the_same_whatever_else_is_requested(
    shape: tuple[int, int, int], seed: int, requested: list[str]
) -> None:
    bits = BitMask.from_masks(random_masks(shape, seed))
    everything, all_notes = postprocess(bits, NAMES)
    computed = bits.select(needed_classes(requested, NAMES))
    subset, notes = postprocess(computed, requested)
    assert np.array_equal(subset.words[0], everything.select(requested).words[0])
    assert set(notes) == {note for note in all_notes if set(subjects(note)) & set(requested)}


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.integers(0, 2**32 - 1))
def test_cleaning_twice_changes_nothing(shape: tuple[int, int, int], seed: int) -> None:
    # The rule of kidney tumors reads the predicted kidneys, where a cleaned kidney may be a smaller part.
    names = tuple(name for name in NAMES if name != "kidney_tumor")
    once, _ = postprocess(BitMask.from_masks(random_masks(shape, seed)), names)
    twice, _ = postprocess(once, names)
    assert np.array_equal(once.words[0], twice.words[0])


def test_the_predicted_masks_are_left_as_they_are_in_either_memory_order() -> None:
    masks = random_masks((9, 8, 7), 3)
    bits = BitMask.from_masks(masks)
    before = bits.words[0].copy()
    cleaned, notes = postprocess(bits, NAMES)
    assert np.array_equal(bits.words[0], before)
    fortran, fortran_notes = postprocess(BitMask((np.asfortranarray(before),), NAMES), NAMES)
    assert np.array_equal(fortran.words[0], cleaned.words[0])
    assert fortran_notes == notes


@pytest.mark.parametrize(
    "name", [c.name for c in PUBLISHED if c.index in {*range(1, 10), *range(11, 15), *range(18, 26)}]
)
def test_organs_keep_their_largest_component(name: str) -> None:
    mask = np.zeros((20, 16, 18), np.bool_)
    mask[2:5, 2:5, 2:5] = mask[5, 5, 5] = True  # a corner joins
    expected = mask.copy()
    mask[8:12, 8:10, 8:10] = True
    cleaned, notes = run({name: mask}, (name,))
    assert np.array_equal(cleaned[name], expected)
    assert notes == ()


def test_of_equal_components_the_first_in_c_order_is_kept() -> None:
    mask = np.zeros((9, 9, 9), np.bool_)
    mask[5:7, 0, 0] = mask[2, 4:6, 3] = mask[2, 8, 0:2] = True
    cleaned, _ = run({"liver": mask}, ("liver",))
    assert np.argwhere(cleaned["liver"]).tolist() == [[2, 4, 3], [2, 5, 3]]


@pytest.mark.parametrize("shape", list(itertools.combinations_with_replacement((1, 2, 3, 4, 5, 9), 3)))
def test_as_many_components_as_an_array_can_hold(shape: tuple[int, int, int]) -> None:
    for turned in set(itertools.permutations(shape)):
        mask = np.zeros(turned, np.bool_)
        mask[::2, ::2, ::2] = True
        cleaned, _ = run({"liver": mask}, ("liver",))
        assert np.argwhere(cleaned["liver"]).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("name", ["hepatic_vessel", "pancreas_tumor", "lung_tumor", "kidney_cyst", "my_own_class"])
def test_classes_without_a_rule_stay_as_predicted(name: str) -> None:
    mask = np.random.default_rng(0).random((9, 8, 7)) < 0.1
    cleaned, notes = run({name: mask}, (name,))
    assert np.array_equal(cleaned[name], mask)
    assert notes == ()


def test_portal_vein_ends_at_the_lowest_slice_of_the_kept_pancreas() -> None:
    masks = empty_masks()
    masks[PORTAL_VEIN][4, 4, :] = True
    masks["pancreas"][3:8, 3:8, 7:11] = True
    masks["pancreas"][15, 15, 2] = True  # not in the kept component
    cleaned, notes = run(masks, (PORTAL_VEIN,))
    assert np.flatnonzero(cleaned[PORTAL_VEIN].any((0, 1))).tolist() == list(range(7, 18))
    assert notes == ()


def test_portal_vein_wholly_below_the_pancreas_is_cleared() -> None:
    masks = empty_masks()
    masks[PORTAL_VEIN][4, 4, 2:5] = True
    masks["pancreas"][3:8, 3:8, 7:11] = True
    assert not run(masks, (PORTAL_VEIN,))[0][PORTAL_VEIN].any()


@pytest.mark.parametrize("names", [NAMES, (PORTAL_VEIN,)], ids=["empty pancreas", "no pancreas class"])
def test_portal_vein_without_a_pancreas_is_kept_with_a_note(names: tuple[str, ...]) -> None:
    masks = empty_masks(names=names)
    masks[PORTAL_VEIN][4, 4, :] = True
    cleaned, (note,) = run(masks, (PORTAL_VEIN,))
    assert np.array_equal(cleaned[PORTAL_VEIN], masks[PORTAL_VEIN])
    assert note.startswith(f"{PORTAL_VEIN} is kept as predicted")
    assert "pancreas" in note


def two_lungs() -> tuple[np.ndarray, np.ndarray]:
    small_x, large_x = empty_masks(names=("a", "b")).values()
    small_x[1:8, 3:12, 2:16] = True
    large_x[10:19, 3:12, 2:16] = True
    return small_x, large_x


def test_lungs_are_told_apart_by_x_whatever_the_network_called_them() -> None:
    small_x, large_x = two_lungs()
    masks = empty_masks()
    masks["right_lung"] = small_x.copy()
    masks["left_lung"] = large_x.copy()
    masks["left_lung"][3, 14, 0] = True
    cleaned, notes = run(masks, ("left_lung", "right_lung"))
    assert np.array_equal(cleaned["left_lung"], small_x)
    assert np.array_equal(cleaned["right_lung"], large_x)
    assert notes == ()
    alone, _ = run(masks, ("right_lung",))
    assert np.array_equal(alone["right_lung"], large_x)


def test_a_lung_that_a_speck_gives_the_other_name_is_noted() -> None:
    """Half a chest: one lung in view, rightly named, and a few false voxels of the other."""
    _, lung = two_lungs()
    speck = np.zeros_like(lung)
    speck[17, 15, 17] = True
    cleaned, notes = run(empty_masks() | {"right_lung": lung, "left_lung": speck}, ("right_lung", "left_lung"))
    assert np.array_equal(cleaned["left_lung"], lung)
    assert np.array_equal(cleaned["right_lung"], speck)
    assert notes == (
        "right_lung and left_lung are told apart by place alone, which renames the predicted right_lung to left_lung: "
        "the only other piece has less than a tenth of its size. Check which one the scan shows.",
    )


def test_both_lungs_under_one_name_are_told_apart() -> None:
    small_x, large_x = two_lungs()
    masks = empty_masks() | {"right_lung": small_x | large_x}
    cleaned, notes = run(masks, ("right_lung", "left_lung"))
    assert np.array_equal(cleaned["left_lung"], small_x)
    assert np.array_equal(cleaned["right_lung"], large_x)
    assert notes == ()


@pytest.mark.parametrize("joined", [True, False], ids=["touching lungs", "one lung in view"])
def test_lungs_in_one_piece_are_not_erased(joined: bool) -> None:
    small_x, large_x = two_lungs()
    masks = empty_masks() | {"right_lung": large_x}
    if joined:
        masks["left_lung"] = small_x
        masks["left_lung"][8:10, 5, 5] = True
    cleaned, notes = run(masks, ("right_lung", "left_lung"))
    assert np.array_equal(cleaned["right_lung"], masks["right_lung"])
    assert np.array_equal(cleaned["left_lung"], masks["left_lung"])
    assert len(notes) == 1
    assert notes[0].startswith("right_lung and left_lung are kept as predicted")


def test_touching_lungs_with_a_stray_voxel_are_noted() -> None:
    small_x, large_x = two_lungs()
    masks = empty_masks() | {"right_lung": large_x, "left_lung": small_x}
    masks["left_lung"][8:10, 5, 5] = True
    masks["right_lung"][0, 15, 17] = True
    cleaned, notes = run(masks, ("right_lung", "left_lung"))
    assert np.argwhere(cleaned["left_lung"]).tolist() == [[0, 15, 17]]
    assert notes == ("right_lung and left_lung mostly lie in one connected region, so that one mask may cover both.",)


def test_no_lung_in_view_needs_no_note() -> None:
    cleaned, notes = run(empty_masks(), NAMES)
    assert not any(mask.any() for mask in cleaned.values())
    assert notes == ()


def test_a_model_with_one_lung_class_keeps_it_with_a_note() -> None:
    masks = {"left_lung": two_lungs()[1]}
    cleaned, (note,) = run(masks, ("left_lung",))
    assert np.array_equal(cleaned["left_lung"], masks["left_lung"])
    assert "right_lung" in note


@pytest.mark.parametrize(
    ("tumor", "hosts"), [("kidney_tumor", ("right_kidney", "left_kidney")), ("liver_tumor", ("liver",))]
)
def test_tumors_are_kept_inside_the_grown_host(tumor: str, hosts: tuple[str, ...]) -> None:
    masks = empty_masks()
    for place, host in zip((2, 14), hosts, strict=False):
        masks[host][place : place + 3, 5:9, 5:9] = True
    masks[hosts[0]][8, 14, 0] = True  # neither organ
    masks[tumor][:] = True
    cleaned, notes = run(masks, (tumor,))
    expected = np.zeros_like(masks[tumor])
    for place in (2, 14)[: len(hosts)]:
        expected[place - 2 : place + 5, 3:11, 3:11] = True
    assert np.array_equal(cleaned[tumor], expected)
    assert notes == ()


@pytest.mark.parametrize("tumor", ["kidney_tumor", "liver_tumor"])
def test_tumors_without_a_host_are_kept_with_a_note(tumor: str) -> None:
    masks = empty_masks()
    masks[tumor][3, 4, 5] = masks[tumor][9, 4, 5] = True
    for names in (NAMES, (tumor,)):
        cleaned, (note,) = run({name: masks[name] for name in names}, (tumor,))
        assert np.array_equal(cleaned[tumor], masks[tumor])
        assert note.startswith(f"{tumor} is kept as predicted")


def test_a_tumor_far_from_its_host_is_cleared() -> None:
    masks = empty_masks()
    masks["liver"][2:5, 2:5, 2:5] = True
    masks["liver_tumor"][15:17, 3, 3] = True
    cleaned, notes = run(masks, ("liver_tumor",))
    assert not cleaned["liver_tumor"].any()
    assert notes == ()


@settings(max_examples=80, deadline=None)
@given(SHAPES, st.integers(0, 2**32 - 1), st.sampled_from([0, 0.01, 0.05, 0.3, 0.8, 0.97, 1.1]))
def test_growing_equals_scipy(shape: tuple[int, int, int], seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random(shape) < density
    before = mask.copy()
    expected = ndimage.binary_dilation(ndimage.binary_closing(mask, BOX), BOX)
    assert np.array_equal(grow_host(mask), expected)
    assert np.array_equal(mask, before)


@pytest.mark.parametrize("corner", list(itertools.product((slice(0, 3), slice(-3, None), slice(6, 9)), repeat=3)))
def test_growing_equals_scipy_at_borders(corner: tuple[slice, slice, slice]) -> None:
    mask = np.zeros((15, 14, 13), np.bool_)
    mask[corner] = True
    mask[corner][1, 1, 1] = False
    assert np.array_equal(grow_host(mask), ndimage.binary_dilation(ndimage.binary_closing(mask, BOX), BOX))


@pytest.mark.parametrize("name", [PORTAL_VEIN, "right_lung", "kidney_tumor", "liver_tumor"])
def test_an_empty_mask_needs_no_note(name: str) -> None:
    cleaned, notes = run(empty_masks(names=(name,)), (name,))
    assert not cleaned[name].any()
    assert notes == ()


def test_a_class_that_was_not_computed_is_refused() -> None:
    with pytest.raises(RequestError, match="'colon'"):
        postprocess(BitMask.zeros((3, 3, 3), ["liver"]), ["colon"])


def test_needed_classes() -> None:
    assert needed_classes(["colon", "spleen"], NAMES) == ("colon", "spleen")
    assert needed_classes([PORTAL_VEIN], NAMES) == (PORTAL_VEIN, "pancreas")
    assert needed_classes(["kidney_tumor"], NAMES) == ("kidney_tumor", "right_kidney", "left_kidney")
    assert needed_classes(["left_lung", "liver_tumor"], NAMES) == ("left_lung", "liver_tumor", "right_lung", "liver")
    assert needed_classes(["left_lung", "liver_tumor"], {"liver", "liver_tumor"}) == (
        "left_lung",
        "liver_tumor",
        "liver",
    )
    assert needed_classes(["my_own_class"], {"my_own_class"}) == ("my_own_class",)
    assert needed_classes(NAMES, NAMES) == NAMES


def test_rules_name_published_classes() -> None:
    assert set(RULES) <= set(NAMES)
    assert {need for rule in RULES.values() for need in rule.needs} <= set(NAMES)
    assert sorted(NAMES.index(name) + 1 for name in set(NAMES) - set(RULES)) == [15, 28, 29, 30, 31, 32]

"""Overlapping masks to one label per voxel."""

from __future__ import annotations

import numpy as np

from umlite.class_table import ClassTable
from umlite.classes import PUBLISHED
from umlite.masks.bitmask import BitMask
from umlite.results.label_map import paint_label_map


def paint(masks: dict[str, list[int]], classes=None) -> list[int]:
    bits = BitMask.from_masks({name: np.array(mask, bool).reshape(-1, 1, 1) for name, mask in masks.items()})
    table = classes or ClassTable(c.name for c in PUBLISHED)
    return paint_label_map(bits, table.resolve(list(masks))).flatten().tolist()


def test_tumours_over_vessels_over_organs_whatever_the_order() -> None:
    masks = {"liver_tumor": [0, 0, 0, 1], "hepatic_vessel": [0, 0, 1, 1], "liver": [0, 1, 1, 1]}
    assert paint(masks) == [0, 6, 15, 27]
    assert paint(dict(reversed(masks.items()))) == [0, 6, 15, 27]


def test_within_a_kind_the_higher_index_wins() -> None:
    assert paint({"pancreas": [1, 1], "stomach": [1, 0]}) == [11, 11]


def test_indices_over_255_widen_the_labels() -> None:
    table = ClassTable(f"extra_{i}" for i in range(300))
    mask = BitMask.zeros((1, 1, 1), ["extra_299"])
    mask.set_mask("extra_299", np.ones((1, 1, 1), bool))
    labels = paint_label_map(mask, table.resolve("extra_299"))
    assert labels.dtype == np.uint16
    assert labels.item() == 332


def test_nothing_found_is_all_zeros() -> None:
    assert paint({"liver": [0, 0], "liver_tumor": [0, 0]}) == [0, 0]

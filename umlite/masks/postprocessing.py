"""The published post-processing: one rule per class, applied to masks on the model's grid.

Source: the observed output of the post-processing in `ljwztc/CLIP-Driven-Universal-Model`. Two of its defects are not
copied: it crashes on an empty pancreas, and it erases both lungs if it cannot tell them apart. Where a rule cannot
apply, the class keeps the mask that the network predicted, and a note says so.

Arrays are [X, Y, Z] in RAS order: x grows to the patient's right, z to the head.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt

from umlite.classes import PUBLISHED, Rule
from umlite.masks.bitmask import BitMask, Box
from umlite.masks.components import label_components

Mask = npt.NDArray[np.bool_]

RULES: dict[str, Rule] = {c.name: c.rule for c in PUBLISHED if c.rule is not None}
"""Rules by canonical name. Classes without a rule stay as predicted, and so do classes outside the published table."""

SPECK_SHARE = 0.1
"""Of the larger of two sides: a smaller piece may be no lung."""
HOST_RADIUS = 2
"""Half width, in voxels, of the 5 x 5 x 5 box by which host organs are closed and dilated."""


@dataclass(frozen=True)
class _Region:
    """Part of a mask: `mask` (bool) fills `box`, and nothing is set outside it."""

    box: Box
    mask: Mask


def needed_classes(requested: Sequence[str], available: Container[str]) -> tuple[str, ...]:
    """Classes to compute for a request, so that the mask of a class does not depend on what else was requested.

    Args:
        requested: canonical names.
        available: names of all classes of the model.

    Returns:
        The requested names, then the names that their rules also read, if the model has them.
    """
    needs = [need for name in requested if name in RULES for need in RULES[name].needs if need in available]
    return tuple(dict.fromkeys([*requested, *needs]))


def postprocess(bits: BitMask, requested: Sequence[str]) -> tuple[BitMask, tuple[str, ...]]:
    """Clean the masks of the requested classes.

    Args:
        bits: predicted masks on the model's grid, with all `needed_classes`; not changed.
        requested: canonical names.

    Returns:
        The cleaned masks in the order of `requested`, and notes: one sentence for each rule that could not be applied,
        and one if both lungs may have ended up in one mask.

    Raises:
        RequestError: `bits` does not hold a requested class.
    """
    cleaned = BitMask.zeros(bits.shape, requested)
    boxes = bits.boxes()
    notes: dict[str, None] = {}
    done: set[str] = set()
    for name in requested:
        if name in done:
            continue
        regions, note = _apply(RULES.get(name), name, bits, boxes)
        for member, region in regions.items():
            if member in requested:
                cleaned.set_mask(member, region.mask, region.box)
        done.update(regions)
        if note:
            notes[note] = None
    return cleaned, tuple(notes)


def grow_host(host: Mask) -> Mask:
    """Close and then dilate a mask [X, Y, Z] by a 5 x 5 x 5 box: the region in which an organ's lesions may lie.

    The result equals that of scipy.ndimage's binary_closing and binary_dilation with their default border: everything
    beyond the array is background, also for the erosion of the closing. The published script's count of liver tumor
    voxels (Swin UNETR, golden scan) rules out the other border.
    """
    return _dilate(_erode(_dilate(host)))


def _apply(rule: Rule | None, name: str, bits: BitMask, boxes: dict[str, Box]) -> tuple[dict[str, _Region], str | None]:
    """Cleaned regions of the class, and of any class that is decided together with it, and a note."""
    predicted = _region(bits, name, boxes)
    if rule is None:
        return {name: predicted}, None
    if rule.kind == "largest":
        return {name: _union(_largest_components(predicted, 1))}, None
    missing = [need for need in rule.needs if need not in bits.names]
    if missing or (rule.kind != "sides" and name not in boxes):
        note = f"{name} is kept as predicted: its rule needs {' and '.join(missing)}, not available here."
        return {name: predicted}, note if missing and name in boxes else None
    needs = [_region(bits, need, boxes) for need in rule.needs]
    components = _largest_components(_union(needs), len(needs))
    if rule.kind == "sides":
        return _tell_sides(rule.needs, needs, components)
    if not components:
        return {name: predicted}, f"{name} is kept as predicted: {' and '.join(rule.needs)} not found."
    if rule.kind == "above":
        return {name: _clear_below(predicted, components[0].box[2].start)}, None
    return {name: _intersection(predicted, _grown(_union(components), bits.shape))}, None


def _tell_sides(
    names: tuple[str, ...], predicted: list[_Region], components: list[_Region]
) -> tuple[dict[str, _Region], str | None]:
    as_predicted = dict(zip(names, predicted, strict=True))
    both = " and ".join(names)
    if not components:
        return as_predicted, None
    if len(components) < 2:
        return as_predicted, f"{both} are kept as predicted: together they are one connected region, not two."
    left, right = sorted(components, key=_mean_x)
    note = _exchanged_by_a_speck(names, predicted, (right, left))
    for component in components:
        if all(2 * _count(_intersection(own, component)) > _count(own) for own in predicted):
            note = f"{both} mostly lie in one connected region, so that one mask may cover both."
    return dict(zip(names, (right, left), strict=True)), note


def _exchanged_by_a_speck(
    names: tuple[str, ...], predicted: list[_Region], assigned: tuple[_Region, _Region]
) -> str | None:
    """A note where a region loses its predicted name to one so small that it may not be the other side at all."""
    large = int(_count(assigned[1]) > _count(assigned[0]))
    small = 1 - large
    size = _count(assigned[large])
    if SPECK_SHARE * size <= _count(assigned[small]):
        return None
    if 2 * _count(_intersection(predicted[small], assigned[large])) <= size:
        return None
    return (
        f"{' and '.join(names)} are told apart by place alone, which renames the predicted {names[small]} to "
        f"{names[large]}: the only other piece has less than a tenth of its size. Check which one the scan shows."
    )


def _region(bits: BitMask, name: str, boxes: dict[str, Box]) -> _Region:
    box = boxes.get(name, (slice(0, 0), slice(0, 0), slice(0, 0)))
    return _Region(box, bits.mask(name, box))


def _largest_components(region: _Region, count: int) -> list[_Region]:
    """The largest components, at most `count`, in order of size."""
    if not region.mask.any():
        return []
    # cc3d numbers components in memory order, which is C order here: the lower label was met first.
    labels, _ = label_components(np.ascontiguousarray(region.mask))
    statistics = cc3d.statistics(np.ascontiguousarray(labels), no_slice_conversion=True)
    sizes = statistics["voxel_counts"]
    sizes[0] = 0
    components = []
    for _ in range(min(count, len(sizes) - 1)):
        label = int(np.argmax(sizes))
        sizes[label] = 0
        first, last = statistics["bounding_boxes"][label].reshape(3, 2).T.tolist()
        inner = tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))
        box = tuple(slice(s.start + a, s.start + b + 1) for s, a, b in zip(region.box, first, last, strict=True))
        components.append(_Region(_as_box(box), labels[inner] == label))
    return components


def _union(regions: list[_Region]) -> _Region:
    filled = [region for region in regions if region.mask.size]
    if len(filled) < 2:
        return filled[0] if filled else _Region((slice(0, 0),) * 3, np.zeros((0, 0, 0), np.bool_))
    hull = _as_box(
        slice(min(s.start for s in axis), max(s.stop for s in axis))
        for axis in zip(*(r.box for r in filled), strict=True)
    )
    union = np.zeros([s.stop - s.start for s in hull], np.bool_)
    for region in filled:
        union[_within(region.box, hull)] |= region.mask
    return _Region(hull, union)


def _intersection(a: _Region, b: _Region) -> _Region:
    box = _as_box(
        slice(max(s.start, t.start), max(s.start, t.start, min(s.stop, t.stop)))
        for s, t in zip(a.box, b.box, strict=True)
    )
    return _Region(box, a.mask[_within(box, a.box)] & b.mask[_within(box, b.box)])


def _clear_below(region: _Region, lowest: int) -> _Region:
    x, y, z = region.box
    start = max(z.start, lowest)
    return _Region((x, y, slice(start, z.stop)), region.mask[:, :, start - z.start :])


def _grown(host: _Region, shape: Sequence[int]) -> _Region:
    box = _as_box(
        slice(max(s.start - HOST_RADIUS, 0), min(s.stop + HOST_RADIUS, n)) for s, n in zip(host.box, shape, strict=True)
    )
    padded = np.zeros([s.stop - s.start for s in box], np.bool_)
    padded[_within(host.box, box)] = host.mask
    # A closing stays in the mask's own box, so this margin holds everything that grow_host sets in the whole array.
    return _Region(box, grow_host(padded))


def _dilate(mask: Mask) -> Mask:
    """A running maximum along each axis."""
    for axis in range(3):
        source = np.moveaxis(mask, axis, 0)
        mask = mask.copy()
        target = np.moveaxis(mask, axis, 0)
        for step in range(1, HOST_RADIUS + 1):
            target[step:] |= source[:-step]
            target[:-step] |= source[step:]
    return mask


def _erode(mask: Mask) -> Mask:
    """A running minimum along each axis, with background beyond the array."""
    for axis in range(3):
        source = np.moveaxis(mask, axis, 0)
        mask = mask.copy()
        target = np.moveaxis(mask, axis, 0)
        for step in range(1, HOST_RADIUS + 1):
            target[step:] &= source[:-step]
            target[:-step] &= source[step:]
        target[:HOST_RADIUS] = False
        target[-HOST_RADIUS:] = False
    return mask


def _mean_x(region: _Region) -> float:
    per_slice = np.count_nonzero(region.mask, axis=(1, 2))
    return region.box[0].start + float(per_slice @ np.arange(len(per_slice))) / float(per_slice.sum())


def _count(region: _Region) -> int:
    return int(np.count_nonzero(region.mask))


def _within(inner: Box, outer: Box) -> Box:
    return _as_box(slice(s.start - t.start, s.stop - t.start) for s, t in zip(inner, outer, strict=True))


def _as_box(slices: Iterable[slice]) -> Box:
    x, y, z = slices
    return x, y, z

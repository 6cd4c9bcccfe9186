"""What the network learns from a real scan: its labels, and its own confident answers cleaned by anatomical rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

from recipes.demo_weights.patients import ABDOMINAL, LABELS, NEVER, PATIENTS, Patient, load_scan, load_truth
from recipes.demo_weights.real_scans import Lesson
from recipes.demo_weights.recipe import CLASSES, HU_RANGE, SPACING_MM
from umlite.api import Segmenter
from umlite.evaluation.tolerances import is_lesion
from umlite.outputs.file_set import replacing
from umlite.volume.preparation import Volume, prepare_volume
from umlite.volume.reading import Scan
from umlite.volume.resampling import resample_linear

WIDE_HU = (-1024.0, 3071.0)
VIEWS = ((1.0, 0.0), (1.1, 0.0), (0.92, 0.02))
"""Factor and shift of the network's input; its answers are the mean over all of them."""
YES, NO = 0.7, 0.15
"""An answer above or below these probabilities is believed."""
SINGLE = ("spleen", "liver", "stomach", "pancreas", "right_kidney", "left_kidney", "gallbladder", "aorta", "postcava")
"""Organs of one piece; other pieces are not believed."""
SOLID = ("spleen", "liver", "stomach", "aorta", "right_lung", "left_lung")
"""Organs whose holes are filled."""
LEAST_ML = {"spleen": 10.0, "liver": 50.0, "right_kidney": 10.0, "left_kidney": 10.0, "stomach": 10.0, "colon": 20.0}
_BODY_HU, _LUNGS_MM, _LUNG_VOXELS = -300.0, 180.0, 200
_MIDDLE = 4
"""Voxels by which the middle of a body may be off."""

Mask = NDArray[np.bool_]


def write_lessons(weights: Path, data: Path, folder: Path) -> None:
    """Write the lesson of every patient that is trained on.

    Args:
        weights: weights file whose answers are believed.
        data: folder of the scans.
        folder: gets NAME.npz for each patient.

    Raises:
        InputError: a scan is missing.
        OutputError: the folder cannot be written.
    """
    segmenter = Segmenter(weights)
    for patient in (p for p in PATIENTS if p.trained != NEVER):
        lesson = make_lesson(segmenter, patient, data)
        with replacing(folder / f"{patient.name}.npz") as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, hu=lesson.hu, present=lesson.present, known=lesson.known)


def make_lesson(segmenter: Segmenter, patient: Patient, data: Path) -> Lesson:
    """The lesson of a patient. Raises InputError where the scan is missing."""
    scan = load_scan(patient, data)
    volume = prepare_volume(scan, SPACING_MM, WIDE_HU)
    hu = (volume.voxels * (WIDE_HU[1] - WIDE_HU[0]) + WIDE_HU[0]).numpy()
    present, known = clean(patient, hu, probabilities(segmenter, volume, hu))
    if patient.trained == LABELS:
        _add_labels(patient, scan, volume, data, present, known)
    top = max(1, round(patient.height * hu.shape[2]))
    places = np.arange(len(CLASSES), dtype=np.uint32)[:, None, None, None]
    taught, certain = ((m[..., :top] << places).sum(0, dtype=np.uint32) for m in (present, known))
    return Lesson(hu[..., :top].astype(np.float16), taught, certain)


def probabilities(segmenter: Segmenter, volume: Volume, hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean probability of each class over all views, smoothed: float32 [classes, X, Y, Z]."""
    scaled = torch.from_numpy(np.clip((hu - HU_RANGE[0]) / (HU_RANGE[1] - HU_RANGE[0]), 0, 1))
    total = torch.zeros(len(CLASSES), *scaled.shape)
    for factor, shift in VIEWS:
        view = torch.where(scaled > 0, scaled * factor + shift, 0).clamp(0, 1)
        total += torch.sigmoid(segmenter.blended_logits(replace(volume, voxels=view)).float())
    mean = (total / len(VIEWS)).numpy()
    return np.stack([ndimage.gaussian_filter(p, 0.7) for p in mean])


def clean(patient: Patient, hu: NDArray[np.float32], p: NDArray[np.float32]) -> tuple[Mask, Mask]:
    """Which classes are taken to be present, and which to be known: bool [classes, X, Y, Z] each.

    1. An answer is believed where it is sure. Lesions are never taught to be present.
    2. Nothing lies outside the body, no abdominal organ above the middle of the lungs, and what the patient does not
       show lies nowhere.
    3. Left organs lie left, right ones right, the spleen left; an organ of one piece has one piece; a large organ is
       large. What breaks such a rule is unknown, not absent.
    4. Organs of one tissue are grown.
    """
    number = {name: c for c, name in enumerate(CLASSES)}
    present, known = p > YES, (p > YES) | (p < NO)
    middle = _middle(hu)
    for name, c in number.items():
        if is_lesion(name):
            present[c], known[c] = False, p[c] < NO
            continue
        found = p[c] > 0.5
        kept = _on_its_side(name, found, middle)
        if name in SINGLE:
            kept = _largest(kept)
        if name in SOLID:
            kept = np.stack([ndimage.binary_fill_holes(kept[..., z]) for z in range(kept.shape[2])], axis=-1)
        if kept.sum() * np.prod(SPACING_MM) / 1000 < LEAST_ML.get(name, 0.0):
            kept = np.zeros_like(kept)
        known[c] = np.where(kept, (p[c] > YES) | ~found, (p[c] < NO) & ~kept)
        present[c] = kept & known[c]
    organs = [c for name, c in number.items() if not is_lesion(name)]
    grown = np.zeros(hu.shape, np.bool_)
    for name, seeds in patient.grown.items():
        whole = grow(hu, [p[number[n]] > 0.5 for n in (name, *seeds)], middle)
        edge = ndimage.binary_dilation(whole, iterations=2) & ~whole
        for c in organs:
            present[c] &= ~whole
            known[c] |= whole
        present[number[name]], known[number[name]] = whole, ~edge | (p[number[name]] < NO)
        grown |= whole
    for name in patient.unsure:
        known[number[name]] &= grown
        present[number[name]] &= grown
    _rule_out(patient, hu, p, present, known)
    return present, known


def grow(hu: NDArray[np.float32], answers: Sequence[Mask], middle: int) -> Mask:
    """An organ of one tissue on the left, from the answers that lie in it: what is connected to them and alike.

    Args:
        hu: of the scan.
        answers: where the organ was found, and the classes that it is taken for.
        middle: x of the middle of the body.
    """
    smooth = ndimage.gaussian_filter(hu, 1.0)
    seed = np.logical_or.reduce(answers)
    seed[middle - _MIDDLE :] = False
    seed = _largest(ndimage.binary_erosion(seed))
    level, spread = np.median(smooth[seed]), np.std(smooth[seed])
    alike = np.abs(smooth - level) < np.clip(2.2 * spread, 15, 35)
    alike[middle - _MIDDLE :] = False
    core, _ = ndimage.label(ndimage.binary_erosion(alike, iterations=2))
    kept = np.isin(core, np.setdiff1d(core[seed], 0))
    return np.asarray(ndimage.binary_dilation(kept, iterations=2, mask=alike))


def _rule_out(patient: Patient, hu: NDArray[np.float32], p: NDArray[np.float32], present: Mask, known: Mask) -> None:
    """Where classes cannot lie becomes known to be free of them."""
    nowhere = np.ones(hu.shape, np.bool_)
    outside = ~_body(hu)
    lungs = (p[CLASSES.index("right_lung")] > 0.5) | (p[CLASSES.index("left_lung")] > 0.5)
    above = np.zeros(hu.shape, np.bool_)
    heights = np.flatnonzero(lungs.sum(axis=(0, 1)) > _LUNG_VOXELS)
    if len(heights) * SPACING_MM[2] > _LUNGS_MM:
        above[..., (heights[0] + heights[-1]) // 2 :] = True
    for c, name in enumerate(CLASSES):
        free = nowhere if name in patient.absent else outside | above if name in ABDOMINAL else outside
        present[c] &= ~free
        known[c] |= free


def _add_labels(patient: Patient, scan: Scan, volume: Volume, data: Path, present: Mask, known: Mask) -> None:
    """Labels replace the answers where they cover the scan. A labelled class is unknown elsewhere if it was unsure."""
    truth, covered = load_truth(patient, scan, data)
    to_scan = np.linalg.solve(scan.affine, volume.affine)

    def on_grid(mask: Mask) -> Mask:
        source = torch.from_numpy(mask.astype(np.float32))
        return resample_linear(source, to_scan, present.shape[1:]).numpy() > 0.5

    inside = on_grid(covered)
    for name, mask in truth.items():
        c = CLASSES.index(name)
        present[c] = np.where(inside, on_grid(mask), present[c])
        known[c] |= inside


def _body(hu: NDArray[np.float32]) -> Mask:
    """The trunk, filled, without table and arms."""
    body = _largest(ndimage.binary_erosion(hu > _BODY_HU, iterations=2))
    body = ndimage.binary_dilation(body, iterations=3)
    return np.stack([ndimage.binary_fill_holes(body[..., z]) for z in range(body.shape[2])], axis=-1)


def _middle(hu: NDArray[np.float32]) -> int:
    return int(np.median(np.nonzero(_body(hu))[0]))


def _on_its_side(name: str, found: Mask, middle: int) -> Mask:
    """Components of what was found whose middle lies on the side of their class; RAS, so the right has the high x."""
    side = 1 if name.startswith("right_") else -1 if name.startswith("left_") or name == "spleen" else 0
    if side == 0 or not found.any():
        return found
    labels, count = ndimage.label(found)
    centres = np.array(ndimage.center_of_mass(found, labels, range(1, count + 1)))
    return np.isin(labels, 1 + np.flatnonzero(side * (centres[:, 0] - middle) > -_MIDDLE))


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]))

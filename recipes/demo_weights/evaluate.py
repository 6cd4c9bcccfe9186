"""Dice of a weights file, through the whole path from scan to masks, on phantoms and on the real scan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from recipes.demo_weights.anatomy import class_of_structure, read_structures
from recipes.demo_weights.recipe import EVALUATION_SEED
from umlite.api import Segmenter
from umlite.class_table import ClassTable
from umlite.outputs.file_set import replacing
from umlite.phantom import make_phantom
from umlite.results.metrics import dice

_SMALLEST_LESION_ML = 1.0

Mask = NDArray[np.bool_]


def evaluate(weights: Path, phantoms: int, data: Path | None, report: Path) -> str:
    """Write a JSON report and return it as a table.

    Organs count in the phantoms that show them, lesions in those that show at least 1 ml of them.

    Args:
        weights: a weights file.
        phantoms: how many, of seeds that no training saw.
        data: folder of example_ct and example_structures, or None to leave the real scan out.
        report: the .json file to write.

    Raises:
        InputError: the folder does not hold them.
        OutputError: the report cannot be written.
    """
    segmenter = Segmenter(weights)
    found: dict[str, list[float]] = {}
    for seed in range(EVALUATION_SEED, EVALUATION_SEED + phantoms):
        for name, score in phantom_dice(segmenter, seed).items():
            found.setdefault(name, []).append(score)
    order = [name for name in segmenter.classes.names if name in found]
    summary = {name: _summary(found[name]) for name in order}
    fit = real_dice(segmenter, data) if data else {}
    result = {"weights": segmenter.card.name, "phantoms": phantoms, "dice": summary, "fit_example_ct": fit}
    with replacing(report) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    return format_table(summary, fit)


def phantom_dice(segmenter: Segmenter, seed: int) -> dict[str, float]:
    """Dice of the classes that a phantom shows; lesions of at least 1 ml only."""
    phantom = make_phantom(seed)
    masks = segmenter.segment(nib.Nifti1Image(phantom.hu, phantom.affine))
    smallest = {c.name: _SMALLEST_LESION_ML if c.kind == "tumor" else 0.0 for c in segmenter.classes}
    voxel_ml = abs(float(np.linalg.det(phantom.affine[:3, :3]))) / 1000
    return {
        name: dice(masks.mask(name), truth)
        for name, truth in phantom.masks.items()
        if name in smallest and truth.any() and truth.sum() * voxel_ml >= smallest[name]
    }


def real_dice(segmenter: Segmenter, data: Path) -> dict[str, float]:
    """Dice on example_ct against its structures: a fit, since its anatomy was trained on."""
    table = ClassTable(segmenter.classes.names)
    labels, names = read_structures(data)
    truth: dict[str, Mask] = {}
    for number, structure in names.items():
        name = class_of_structure(structure, table)
        mask = labels == number
        if name in table and mask.any():
            truth[name] = truth[name] | mask if name in truth else mask
    masks = segmenter.segment(data / "example_ct.nii.gz")
    return {name: round(dice(masks.mask(name), truth[name]), 4) for name in table.names if name in truth}


def format_table(summary: Mapping[str, Mapping[str, float]], fit: Mapping[str, float]) -> str:
    """One line per class: mean, standard deviation, minimum and number of the phantoms, and the real scan's fit."""
    lines = [f"{'class':30} {'mean':>6} {'sd':>6} {'min':>6} {'n':>3}  {'example_ct':>10}"]
    for name in dict.fromkeys((*summary, *fit)):
        row = summary.get(name)
        numbers = " " * 24
        if row:
            numbers = f"{row['mean']:6.3f} {row['sd']:6.3f} {row['min']:6.3f} {row['count']:3.0f}"
        lines.append(f"{name:30} {numbers}  {fit[name]:10.3f}" if name in fit else f"{name:30} {numbers}")
    return "\n".join(lines)


def _summary(values: list[float]) -> dict[str, float]:
    return {
        "mean": round(float(np.mean(values)), 4),
        "sd": round(float(np.std(values)), 4),
        "min": round(min(values), 4),
        "count": len(values),
    }

"""Dice of weights files on real patients, beside what they find where nothing of the kind is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from recipes.demo_weights.evaluate import real_dice
from recipes.demo_weights.patients import LABELS, PATIENTS, Patient, load_scan, load_truth
from umlite.api import Segmenter
from umlite.outputs.file_set import replacing
from umlite.results.metrics import dice

ABSENT = "(absent classes)"


@dataclass(frozen=True)
class Measured:
    """What one weights file made of one class of one scan.

    Args:
        scan, trained, licence: of the patient.
        name: the class, or ABSENT for all classes together that the scan does not show.
        dice: against the labels, where they cover the scan; None for ABSENT.
        found_ml, true_ml: volumes there; None where the labels are only a fit's.
    """

    scan: str
    trained: str
    licence: str
    name: str
    dice: float | None
    found_ml: float | None
    true_ml: float | None


def measure_patients(weights: Sequence[Path], data: Path, report: Path) -> str:
    """Write what each weights file finds in all patients as JSON, and return a Markdown table of them side by side.

    Args:
        weights: weights files, the oldest first.
        data: folder of the scans that `patients.PATIENTS` lists.
        report: the .json file to write.

    Raises:
        InputError: a scan is missing.
        OutputError: the report cannot be written.
    """
    found = {str(file): measure(Segmenter(file), data) for file in weights}
    with replacing(report) as temporary:
        temporary.write_text(json.dumps({k: [asdict(m) for m in rows] for k, rows in found.items()}, indent=1) + "\n")
    return format_rows(list(found.values()))


def measure(segmenter: Segmenter, data: Path) -> list[Measured]:
    """One entry for each labelled class of each patient and one for its absent classes, then example_ct's."""
    rows = [row for patient in PATIENTS for row in _measure_patient(segmenter, patient, data)]
    fit = real_dice(segmenter, data)
    return rows + [Measured("example_ct", LABELS, "Apache-2.0", name, d, None, None) for name, d in fit.items()]


def format_rows(columns: Sequence[Sequence[Measured]]) -> str:
    """A Markdown table: scan, training, class, true volume; then Dice and volume of each weights file."""
    head = ["scan", "trained on with", "class", "true ml", *(w for _ in columns for w in ("Dice", "found ml"))]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for same in zip(*columns, strict=True):
        first = same[0]
        cells = [first.scan, first.trained, first.name, _number(first.true_ml, 1)]
        for row in same:
            cells += [_number(row.dice, 3), _number(row.found_ml, 1)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _measure_patient(segmenter: Segmenter, patient: Patient, data: Path) -> list[Measured]:
    scan = load_scan(patient, data)
    truth, covered = load_truth(patient, scan, data)
    result, ml = segmenter.segment(scan), scan.voxel_volume_ml
    rows = []
    for name, true in truth.items():
        found = result.mask(name) & covered
        score = round(dice(found, true), 4)
        volumes = (round(float(m.sum()) * ml, 2) for m in (found, true))
        rows.append(Measured(patient.name, patient.trained, patient.licence, name, score, *volumes))
    if patient.height < 1:
        return rows  # what it does not show is known of a part of it
    false_ml = round(sum(result.volumes_ml[name] for name in patient.absent), 2)
    return [*rows, Measured(patient.name, patient.trained, patient.licence, ABSENT, None, false_ml, 0.0)]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"

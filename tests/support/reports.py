"""Small reports that tests are made with, and names that attack a page."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, ornt_transform

from support.segmentations import segmentation_of
from umlite.outputs.file_set import together
from umlite.products.report.content import ReportContent
from umlite.products.report.writing import write_report
from umlite.results.segmentation import Segmentation
from umlite.results.statistics import statistics

SHAPE, SPACING_MM = (60, 48, 30), (2.0, 2.0, 4.0)
LIVER_HU, TUMOR_HU, BODY_HU = 110, 60, 20
LESION_SLICE = 20


@dataclass(frozen=True)
class Found:
    """What a check found."""

    code: str
    sentence: str
    evidence: Any = field(default=None)
    level: str = "warning"


def small_result(axes: str = "RAS", *, lean_mm: float = 0.0) -> Segmentation:
    """A liver with two tumours, one of them in slice 20, a spleen, and a bladder that was not found.

    axes: as stored. lean_mm: to the front for each slice, as on a tilted gantry.
    """
    masks = {name: np.zeros(SHAPE, bool) for name in ("liver", "liver_tumor", "spleen", "bladder")}
    masks["liver"][36:54, 16:36, 8:26] = True
    masks["liver_tumor"][40:47, 22:29, LESION_SLICE : LESION_SLICE + 1] = True
    masks["liver_tumor"][48:50, 20:22, 12:13] = True
    masks["spleen"][8:16, 12:20, 16:24] = True
    hu = np.full(SHAPE, -1000, np.int16)
    hu[4:56, 6:42] = BODY_HU
    hu[masks["liver"]] = LIVER_HU
    hu[masks["liver_tumor"]] = TUMOR_HU
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = (-60, -48, 100)
    affine[1, 2] = lean_mm
    transform = ornt_transform(nib.io_orientation(affine), axcodes2ornt(tuple(axes)))

    def turned(values: np.ndarray) -> nib.Nifti1Image:
        return nib.Nifti1Image(values, affine).as_reoriented(transform)

    image = turned(hu)
    data = {name: np.asarray(turned(mask.astype(np.uint8)).dataobj) > 0 for name, mask in masks.items()}
    return segmentation_of(data, np.asarray(image.dataobj), image.affine)


def hostile_result(names: list[str]) -> Segmentation:
    """The small result with classes of these names, each with some voxels."""
    result = small_result()
    kinds = [replace(result.classes[0], name=name, index=i + 1, color=(40 + i, 255, 0)) for i, name in enumerate(names)]
    masks = {name: np.zeros(SHAPE, bool) for name in names}
    for number, mask in enumerate(masks.values()):
        mask[10 + number % 40, 10:30, 10:20] = True
    plain = segmentation_of({"liver": masks[names[0]]}, np.asarray(result.scan.hu), result.affine)
    bits = type(plain.masks.on_model).from_masks(masks)
    return replace(plain, classes=tuple(kinds), masks=type(plain.masks)(bits, plain.masks.frame))


def save_report(path: Path, result: Segmentation, budget_bytes: int = 10_000_000, **about: Any) -> Path:
    """Write a report of a result. about: further fields of its content."""
    with together(path.parent) as files:
        write_report(files, path, ReportContent(result, statistics(result), **about), budget_bytes)
    return path


_ATTACKS = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    "<!--<script>",
    "--><img src=x onerror=window.hacked=1>",
    '"><svg onload=window.hacked=1>',
    "' onmouseover='window.hacked=1",
    "</title><script>window.hacked = 1</script>",
    "</style><script>window.hacked = 1</script>",
    "</textarea></noscript><script>window.hacked=1</script>",
    "{{constructor.constructor('window.hacked=1')()}}",
    "${window.hacked = 1}",
    "{number}{last}{0}{}%s%(x)s",
    "javascript:window.hacked=1",
    '\\"};window.hacked=1;//',
    "]]><![CDATA[",
    "&lt;b&gt;&#0;&amp;",
    "\u2028window.hacked=1\u2029",
    "\u202egnp.exe",
    "\x00\x07\x1b[31m",
    "=cmd|' /C calc'!A0",
    "../../etc/passwd",
    "a\nb\r\tc",
    "\ud800 alone",
    "<base href=//example.org>",
    "<meta http-equiv=refresh content=0;url=//example.org>",
    "<link rel=stylesheet href=//example.org/x.css>",
    "<iframe srcdoc='<script>parent.hacked=1</script>'>",
    "<a href=javascript:window.hacked=1>x</a>",
    "\U0001f480 肝臓 كبد",
    "x" * 300,
)


def hostile_names(count: int) -> list[str]:
    """Different names that a page must show as they are."""
    return [_ATTACKS[i % len(_ATTACKS)] + (f" {i}" if i >= len(_ATTACKS) else "") for i in range(count)]

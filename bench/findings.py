"""How many faults of scans and masks the checks notice, kind by kind, and what they say of good results.

    python -m bench.findings                          # phantoms, segmented with the bundled weights
    python -m bench.findings --phantoms 12 SCAN ...   # and scans of patients: NIfTI files or DICOM folders

A fault is noticed where a code that should tell it is found and the good result does not have it. Scans that are
reversed, cropped, noisy or of a wrong spacing go through the network again. Of phantoms the truth is known: a warning
about a good one is false unless the mask that it is about really is wrong.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bench.findings_faults import MASK_FAULTS, SCAN_FAULTS, Case, Masks
from bench.report import begin, finish
from umlite import Segmentation, Segmenter
from umlite.dicom.reading import read_source
from umlite.errors import GeometryError, InputError
from umlite.findings import Finding, find
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import ResampledMasks
from umlite.phantom import make_phantom
from umlite.results.metrics import dice
from umlite.results.statistics import statistics
from umlite.volume.geometry import Grid
from umlite.volume.preparation import Frame
from umlite.volume.reading import read_scan

SEED = 1_000_100
KINDS = (*SCAN_FAULTS, *MASK_FAULTS)
FACES = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
LEAST_CUT_ML, LEAST_FOUND_ML = 5.0, 2.0
RIGHT_DICE = 0.5


class Detector:
    """Runs the network and the checks."""

    def __init__(self) -> None:
        self._segmenter = Segmenter("demo", threads=1)

    def segment(self, hu: np.ndarray, affine: np.ndarray) -> tuple[Segmentation, tuple[Finding, ...]]:
        """A result and its findings. Raises GeometryError where the scan is refused."""
        result = self._segmenter.segment(nib.Nifti1Image(_stored(hu), affine), details=True)
        return result, find(result, statistics(result))


def find_with(good: Segmentation, hu: np.ndarray, affine: np.ndarray, masks: Masks) -> tuple[Finding, ...]:
    """Findings of other voxels or masks in the place of a good result's."""
    scan = read_scan(nib.Nifti1Image(_stored(hu), affine))
    grid = Grid(scan.shape, scan.affine)
    bits = ResampledMasks(BitMask.from_masks(masks), Frame((0, 1, 2), grid, grid, (0, 0, 0), scan.shape))
    result = replace(good, scan=scan, masks=bits, details=None, kept_shares={})
    return find(result, statistics(result))


def _stored(hu: np.ndarray) -> np.ndarray:
    return hu.astype(np.int16) if np.array_equal(hu, np.round(hu)) else hu.astype(np.float32)


def told(findings: Sequence[Finding]) -> set[tuple[str, str]]:
    """Codes with what they are about."""
    return {(f.code, ",".join(f.classes)) for f in findings if f.level == "warning" or f.code == "noise"}


def cut_by(case: Case, axis: int, high: bool) -> tuple[np.ndarray, np.ndarray, set[str]]:
    """A scan that ends in the middle of the liver, its affine, and the organs that this cuts."""
    profile = case.masks["liver"].any(axis=tuple(a for a in range(3) if a != axis))
    at = int(np.flatnonzero(profile).mean())
    part = [slice(None)] * 3
    part[axis] = slice(None, at + 1) if high else slice(at, None)
    plane = [slice(None)] * 3
    plane[axis] = slice(max(at - 2, 0), at + 3)
    ml = abs(np.linalg.det(case.affine[:3, :3])) / 1000
    kept = {name: float(mask[tuple(part)].sum()) * ml for name, mask in case.masks.items()}
    through = {
        name for name, mask in case.masks.items() if mask[tuple(plane)].any((0, 1, 2)) and _crosses(mask, axis, at)
    }
    affine = case.affine.copy()
    if not high:
        affine[:3, 3] += at * affine[:3, axis]
    organs = {name for name in through if min(kept[name], case.ml(name) - kept[name]) >= LEAST_CUT_ML}
    return np.ascontiguousarray(case.hu[tuple(part)]), affine, {o for o in organs if not o.endswith(("tumor", "cyst"))}


def _crosses(mask: np.ndarray, axis: int, at: int) -> bool:
    """Whether planes on both sides of a plane hold the mask."""
    planes = mask.any(axis=tuple(a for a in range(3) if a != axis))
    return bool(planes[max(at - 2, 0) : at + 3].all())


def measure(
    detector: Detector, case: Case, good: Segmentation, before: set[tuple[str, str]], only: Collection[str]
) -> dict[str, Any]:
    """By kind of fault: whether it was noticed by its code, and by any new warning."""
    noticed: dict[str, Any] = {}
    for kind, fault in SCAN_FAULTS.items():
        if not fault.fits(case) or kind not in only:
            continue
        hu, affine = fault.change(case.hu, case.affine)
        try:
            found = detector.segment(hu, affine)[1] if fault.again else find_with(good, hu, affine, case.masks)
        except GeometryError:
            noticed[kind] = (True, True)
            continue
        new = told(found) - before
        noticed[kind] = (any(code in fault.codes for code, _ in new), bool(new))
    for kind, damage in MASK_FAULTS.items():
        if damage.fits(case) and kind in only:
            new = told(find_with(good, case.hu, case.affine, case.masks | damage.change(case))) - before
            noticed[kind] = (any(code in damage.codes for code, _ in new), bool(new))
    return noticed


def measure_cuts(detector: Detector, case: Case) -> dict[str, tuple[int, int]]:
    """By face of the scan: organs that it cuts and that the network still finds, and how many are told to be cut."""
    counts = {}
    if not case.whole("liver", 200) and case.ml("liver") < 600:
        return {}
    for axis, ends in enumerate(FACES):
        for high, face in enumerate(ends):
            hu, affine, organs = cut_by(case, axis, bool(high))
            result, findings = detector.segment(hu, affine)
            organs = {name for name in organs if result.volumes_ml[name] >= LEAST_FOUND_ML}
            found = next((f for f in findings if f.code == "cut"), None)
            faces = found.evidence["faces"] if found else {}
            counts[f"cut at the {face} face"] = (len(organs), sum(face in faces.get(name, ()) for name in organs))
    return counts


def is_false(finding: Finding, result: Segmentation, truth: Masks) -> bool:
    """Whether a warning about a good phantom is wrong: nothing that it is about is."""
    if finding.code == "in-pieces":
        return False  # a count of what is there
    if finding.code == "absent-in-view":
        return not all(_is_missing(truth, name) or truth[name].any() for name in finding.classes)
    if finding.code in ("volume-implausible", "hu-implausible", "overlap"):
        return all(name not in truth or dice(result.mask(name), truth[name]) >= RIGHT_DICE for name in finding.classes)
    if finding.code == "lesion-outside":
        return any(bool((result.mask(name) & truth[name]).any()) for name in finding.classes if name in truth)
    return True


def _is_missing(truth: Masks, name: str) -> bool:
    return name not in truth or not truth[name].any()


def cases_of(options: argparse.Namespace) -> Iterator[tuple[str, np.ndarray, np.ndarray, Masks | None]]:
    """Name, HU, affine in RAS order, and the truth where it is known."""
    for number in range(options.phantoms):
        phantom = make_phantom(SEED + number, [(3, 3, 3), (2.5, 2.5, 5), (1.5, 1.5, 3), (3, 3, 3)][number % 4])
        yield f"phantom {SEED + number}", phantom.hu, phantom.affine, phantom.masks
    for path in options.scans:
        scan = read_source(path)
        image = nib.as_closest_canonical(nib.Nifti1Image(_stored(scan.hu), scan.affine))
        yield path.name, np.asarray(image.dataobj), image.affine, None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="*", type=Path, help="NIfTI files, or folders of DICOM")
    parser.add_argument("--phantoms", type=int, default=12, help="number of phantoms (default: 12)")
    parser.add_argument(
        "--only", action="append", choices=KINDS, metavar="FAULT", help="this kind of fault; repeatable"
    )
    parser.add_argument("--clean", action="store_true", help="look at good results only")
    options = parser.parse_args(arguments)
    report = begin("findings", {"phantoms": options.phantoms, "scans": [str(path) for path in options.scans]})
    detector = Detector()
    kinds: dict[str, Counter[str]] = {}
    good: list[dict[str, Any]] = []
    for name, hu, affine, truth in cases_of(options):
        try:
            result, found = detector.segment(hu, affine)
        except InputError as error:
            print(f"{name}: {error}")
            continue
        warnings = [f for f in found if f.level == "warning"]
        false = None if truth is None else [f.sentence for f in warnings if is_false(f, result, truth)]
        good.append({"name": name, "warnings": [[f.code, f.sentence] for f in warnings], "false": false})
        print(
            f"{name}: {len(warnings)} warnings" + ("" if false is None else f", {len(false)} of them false"), flush=True
        )
        if options.clean:
            continue
        case = Case(
            name, np.asarray(hu), affine, {c.name: result.mask(c.name) for c in result.classes}, statistics(result)
        )
        for kind, (by_code, at_all) in measure(detector, case, result, told(found), options.only or KINDS).items():
            kinds.setdefault(kind, Counter()).update(cases=1, noticed=by_code, any=at_all)
            if not by_code:
                print(f"  missed: {kind}", flush=True)
        cuts = {} if options.only else measure_cuts(detector, case)
        for kind, (organs, right) in cuts.items():
            kinds.setdefault(kind, Counter()).update(cases=organs, noticed=right, any=right)
    print_tables(kinds, good)
    finish(report | {"kinds": kinds, "good": good})


def print_tables(kinds: dict[str, Counter[str]], good: list[dict[str, Any]]) -> None:
    print("\n| fault | cases | noticed | by any warning |\n|---|---|---|---|")
    for kind, counts in kinds.items():
        shares = " | ".join(f"{counts[key] / max(counts['cases'], 1):.2f}" for key in ("noticed", "any"))
        print(f"| {kind} | {counts['cases']} | {shares} |")
    codes = Counter(code for entry in good for code in {code for code, _ in entry["warnings"]})
    print(f"\n{len(good)} good results; with a warning of each code:", dict(codes))
    for entry in good:
        for code, sentence in entry["warnings"]:
            mark = "?" if entry["false"] is None else "false" if sentence in entry["false"] else "true"
            print(f"  {entry['name']}: {mark}: {code}: {sentence}")


if __name__ == "__main__":
    main()

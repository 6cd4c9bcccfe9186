"""How well a class is learned again that was taken out of the bundled weights: `umlite extend` as a table.

    python -m bench.extension --classes spleen,gallbladder,liver_tumor --scans 5,20 --out rows.jsonl

Each class is dropped from the bundled weights and taught from labelled phantoms, a quarter of them held out for
stopping. Judges are other phantoms, whole, on their own grids: Dice of the original weights, of the pack, and of a
linear probe: one linear map of the features, without the two layers of a head.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bench.report import begin, finish
from umlite import Segmenter
from umlite.extension.extend import Extension, Task, Teacher
from umlite.extension.labelled import Labelled, find_labelled
from umlite.extension.measured import held_out_dice
from umlite.extension.probe import linear_probe
from umlite.extension.samples import Sampler, content_hash
from umlite.phantom import make_phantom
from umlite.weights.packs import write_pack
from umlite.weights.store import BUNDLED
from umlite.weights.surgery import drop

FIRST_SEED = 2_000_000  # phantoms that no training saw
SPACING_MM = (2.0, 2.0, 4.0)
JUDGES = 6


def main() -> None:
    options = arguments()
    classes = options.classes.split(",")
    report = begin("extension", {name: str(value) for name, value in vars(options).items()})
    with tempfile.TemporaryDirectory() as made:
        folder = options.work or Path(made)
        count = max(options.scans) + options.judges
        draw_phantoms(folder / "cases", count, classes)
        rows = []
        for name in classes:
            base = folder / f"without_{name}.safetensors"
            drop(BUNDLED["demo"], name, base, overwrite=True)
            scans = find_labelled(folder / "cases", name)[0]
            judges = [one for one in scans if int(one.name) >= max(options.scans)]
            original = held_out_dice(Segmenter("demo", device="cpu"), name, judges)
            for number in options.scans:
                row = taught(folder, base, name, [one for one in scans if int(one.name) < number], judges)
                rows.append({**row, "original": mean(original), "judges": len(original)})
                print(json.dumps(rows[-1]), flush=True)
    if options.out:
        options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    finish({**report, "rows": rows})


def taught(
    folder: Path, base: Path, name: str, scans: Sequence[Labelled], judges: Sequence[Labelled]
) -> dict[str, Any]:
    """One row: a class learned from some scans."""
    segmenter = Segmenter(base, device="cpu")
    teacher = Teacher(segmenter, folder / "samples")
    start = time.perf_counter()
    found = teacher.teach(scans, Task(name, held_out=0.25))
    seconds = time.perf_counter() - start
    pack = folder / f"{name}.pack.safetensors"
    write_pack(pack, found.pack)
    values = held_out_dice(Segmenter(base, packs=[pack], device="cpu"), name, judges)
    probe = probe_dice(segmenter, teacher, found, scans, judges)
    return {
        "class": name,
        "scans": len(scans),
        "dice": mean(values),
        "probe": mean(probe),
        "seconds": round(seconds, 1),
        "start": found.curve.start,
        "samples_mb": round(found.kept_bytes / 1e6, 1),
        "each": [round(value, 3) for value in values],
    }


def probe_dice(
    segmenter: Segmenter, teacher: Teacher, found: Extension, scans: Sequence[Labelled], judges: Sequence[Labelled]
) -> list[float]:
    """Dice of logistic regression on the features, over samples of the judges (no post-processing, no blending)."""
    sampler = Sampler(segmenter, teacher.base, teacher.folder, 0)
    train = [sampler.of(one, content_hash(one)) for one in scans if one.name in found.trained_on]
    line = linear_probe(train)
    values = []
    for one in judges:
        samples = sampler.of(one, content_hash(one))
        if samples.inside.any():
            guess = samples.feature.float() @ line[:-1] + line[-1] > 0
            both = float((samples.weight * (guess & samples.inside)).sum())
            values.append(2 * both / float((samples.weight * guess).sum() + (samples.weight * samples.inside).sum()))
    return values


def draw_phantoms(folder: Path, count: int, classes: Sequence[str]) -> None:
    """Labelled phantoms as folders of cases, those that are not there yet."""
    for n in range(count):
        case = folder / f"{n:03d}"
        if (case / "ct.nii.gz").exists():
            continue
        phantom = make_phantom(FIRST_SEED + n, SPACING_MM)
        (case / "segmentations").mkdir(parents=True, exist_ok=True)
        for name in classes:
            mask = phantom.masks.get(name, np.zeros(phantom.hu.shape, bool))
            nib.save(nib.Nifti1Image(mask.astype(np.uint8), phantom.affine), case / "segmentations" / f"{name}.nii.gz")
        nib.save(phantom.image(), case / "ct.nii.gz")


def mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 3) if values else None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", default="spleen,gallbladder,liver_tumor")
    parser.add_argument("--scans", type=lambda text: [int(n) for n in text.split(",")], default=[5, 20])
    parser.add_argument("--judges", type=int, default=JUDGES)
    parser.add_argument("--work", type=Path, help="folder that keeps phantoms and samples")
    parser.add_argument("--out", type=Path, help="file of rows")
    parser.add_argument("--threads", type=int, help="taken for the sake of the other scripts")
    parser.add_argument("--quick", action="store_true", help="one class from two phantoms, one judge")
    options = parser.parse_args()
    if options.quick:
        options.classes, options.scans, options.judges = "spleen", [2], 1
    return options


if __name__ == "__main__":
    main()

"""How well a class is learned again that was taken out of the bundled weights: `umlite extend` as a table.

    python -m bench.extension --classes spleen,gallbladder,liver_tumor --scans 5,20 --out rows.jsonl
    python -m bench.extension --classes aorta,right_lung --shared PATH      # real scans, one patient judges at a time

Each class is dropped from the weights and taught from labelled scans, a quarter of them held out for stopping. Judges
are other scans, whole, on their own grids, post-processed: Dice of the original weights, of the pack, of a linear
probe (one linear map of the features, without the two layers of a head), and of the small network trained anew.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.extension_anew import train_anew
from bench.extension_scans import Fold, of_patients, of_phantoms
from bench.report import begin, finish
from umlite import Segmenter
from umlite.extension.extend import Extension, Task, Teacher
from umlite.extension.labelled import Labelled
from umlite.extension.learning import Controller
from umlite.extension.measured import held_out_dice
from umlite.extension.samples import Sampler, content_hash
from umlite.extension.starts import of_probe
from umlite.extension.unchanged import hash_scans
from umlite.files import file_sha256
from umlite.kernels.implementations import REFERENCE
from umlite.weights.loading import load_model
from umlite.weights.packs import Pack, write_pack
from umlite.weights.store import BUNDLED
from umlite.weights.surgery import drop

JUDGES = 6
HELD_OUT = 0.25


@dataclass(frozen=True)
class Trial:
    """A class that weights are without.

    Args:
        name: of the class.
        original, base: weights with it and without it.
        folder: for packs and samples.
        anew: how many times the processor time of the pack the small network gets; 0 leaves it out.
    """

    name: str
    original: Path
    base: Path
    folder: Path
    anew: float


def main() -> None:
    options = arguments()
    report = begin("extension", {name: str(value) for name, value in vars(options).items()})
    report["weights_sha256"] = file_sha256(options.weights)
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as made:
        folder = options.work or Path(made)
        classes = options.classes.split(",")
        rows = []
        for name in classes:
            base = folder / f"without_{name}.safetensors"
            folder.mkdir(parents=True, exist_ok=True)
            drop(options.weights, name, base, overwrite=True)
            if options.shared:
                folds = of_patients(options.shared / "data", folder / "parts", name)
            else:
                folds = of_phantoms(folder / "cases", classes, name, options.scans, options.judges)
            for fold in folds:
                rows.append(taught(Trial(name, options.weights, base, folder, options.anew), fold))
                print(json.dumps(rows[-1]), flush=True)
                if options.out:
                    options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    finish({**report, "rows": rows})


def taught(trial: Trial, fold: Fold) -> dict[str, Any]:
    """One row: a class learned from some scans."""
    segmenter = Segmenter(trial.base, device="cpu")
    teacher = Teacher(segmenter, trial.folder / f"samples_of_{len(fold.scans)}")
    start, cpu = time.perf_counter(), time.process_time()
    found = teacher.teach(fold.scans, Task(trial.name, held_out=HELD_OUT))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    extended = with_pack(trial, "pack", found.pack)
    sampler = Sampler(segmenter, teacher.base, teacher.folder, 0)
    before, after = (hash_scans(one, len(segmenter.classes), fold.scans, sampler) for one in (segmenter, extended))
    row = {
        "class": trial.name,
        "scans": len(fold.scans),
        "judge": fold.judge,
        "original": scores(Segmenter(trial.original, device="cpu"), trial.name, fold.judges),
        "pack": scores(extended, trial.name, fold.judges),
        "probe": scores(with_pack(trial, "probe", probe(teacher, sampler, found, fold.scans)), trial.name, fold.judges),
        "seconds": round(seconds, 1),
        "cpu_s": round(cpu, 1),
        "load": round(os.getloadavg()[0], 1),
        "start": found.curve.start,
        "curve": found.curve.points,
        "samples_mb": round(found.kept_bytes / 1e6, 1),
        "unchanged": before.compare(after).to_dict(),
    }
    if trial.anew:
        network = trial.folder / f"anew_{trial.name}.safetensors"
        row["anew_steps"] = train_anew(segmenter, fold.scans, trial.name, trial.anew * cpu, network)
        row["anew"] = scores(Segmenter(network, device="cpu"), trial.name, fold.judges)
    return row


def with_pack(trial: Trial, kind: str, pack: Pack) -> Segmenter:
    """The weights without the class, with a pack."""
    path = trial.folder / f"{trial.name}_{kind}.pack.safetensors"
    write_pack(path, pack, overwrite=True)
    return Segmenter(trial.base, packs=[path], device="cpu")


def probe(teacher: Teacher, sampler: Sampler, found: Extension, scans: Sequence[Labelled]) -> Pack:
    """Logistic regression on the features of the scans that the pack learned from, as a head."""
    model, _ = load_model(teacher.segmenter.weights_path, REFERENCE)
    train = [sampler.of(one, content_hash(one)) for one in scans if one.name in found.trained_on]
    line: Controller = of_probe(model.generator, train, torch.Generator().manual_seed(0))
    return Pack(found.pack.card, line.weight[None], line.bias[None])


def scores(segmenter: Segmenter, name: str, judges: Sequence[Labelled]) -> dict[str, Any]:
    """Mean and all Dice values."""
    values = held_out_dice(segmenter, name, judges)
    return {"mean": round(float(np.mean(values)), 3) if values else None, "each": [round(v, 3) for v in values]}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", default="spleen,gallbladder,liver_tumor")
    parser.add_argument("--weights", type=Path, default=BUNDLED["demo"], help="weights with the classes")
    parser.add_argument("--scans", type=lambda text: [int(n) for n in text.split(",")], default=[5, 20])
    parser.add_argument("--judges", type=int, default=JUDGES)
    parser.add_argument("--shared", type=Path, help="folder with data/: real scans in place of phantoms")
    parser.add_argument("--anew", type=float, default=0, help="time of the network anew, in times of the pack")
    parser.add_argument("--work", type=Path, help="folder that keeps phantoms and samples")
    parser.add_argument("--out", type=Path, help="file of rows")
    parser.add_argument("--threads", type=int, help="all that this process may use by default")
    parser.add_argument("--quick", action="store_true", help="one class from two phantoms, one judge")
    options = parser.parse_args()
    if options.quick:
        options.classes, options.scans, options.judges, options.anew = "spleen", [2], 1, 0.2
    return options


if __name__ == "__main__":
    main()

"""What form a new class should have: Dice of several forms over the same samples of phantoms that none learned from.

    python -m bench.extension_forms --classes spleen,gallbladder --scans 5

Own controller: a linear map from the image vector, as `umlite extend` learns it. No image: the numbers of a head alone.
Probe: logistic regression on the features, without the hidden layers of a head. Nearest: the best existing head.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench.extension_scans import draw_phantoms
from bench.report import begin, finish
from umlite import Segmenter
from umlite.extension import starts
from umlite.extension.labelled import find_labelled
from umlite.extension.learning import Controller, Learner
from umlite.extension.samples import Sampler, Samples, content_hash
from umlite.kernels.implementations import REFERENCE
from umlite.models.parameter_generator import ParameterGenerator
from umlite.weights.loading import load_model
from umlite.weights.packs import network_sha256
from umlite.weights.store import BUNDLED
from umlite.weights.surgery import drop

STOPPING, JUDGES = 2, 4
"""Phantoms that say when to stop, and those that judge."""


def main() -> None:
    options = arguments()
    classes = options.classes.split(",")
    report = begin("extension_forms", {name: str(value) for name, value in vars(options).items()})
    rows = []
    with tempfile.TemporaryDirectory(prefix="umlite-forms-") as made:
        folder = options.work or Path(made)
        draw_phantoms(folder / "cases", options.scans + STOPPING + JUDGES, classes)
        for name in classes:
            base = folder / f"without_{name}.safetensors"
            drop(BUNDLED["demo"], name, base, overwrite=True)
            model, _ = load_model(base, REFERENCE)
            segmenter = Segmenter(base, device="cpu")
            sampler = Sampler(segmenter, network_sha256(model.state_dict()), folder / "samples", 0)
            samples = [sampler.of(one, content_hash(one)) for one in find_labelled(folder / "cases", name)[0]]
            rows.append({"class": name, "scans": options.scans, **forms(model.generator, samples, options.scans)})
            print(json.dumps(rows[-1]), flush=True)
    finish({**report, "rows": rows})


def forms(generator: ParameterGenerator, samples: Sequence[Samples], scans: int) -> dict[str, float]:
    """Dice of each form over the samples of the judges. All begin at the probe; some scans stop learning."""
    train, stopping, judges = samples[:scans], samples[scans : scans + STOPPING], samples[scans + STOPPING :]
    judge = Learner(train, judges)
    probe = starts.of_probe(generator, train, torch.Generator().manual_seed(0))
    own, _, _ = Learner(train, stopping).learn(probe, "own")
    blind, _, _ = Learner([_without_image(s) for s in train], [_without_image(s) for s in stopping]).learn(probe, "")
    nearest = max(
        (starts.existing(generator, head) for head in range(generator.config.heads)), key=Learner(train, stopping).dice
    )
    found = {
        "own_controller": own,
        "no_image": Controller(torch.zeros_like(blind.weight), blind.bias),
        "probe": probe,
        "nearest_head": nearest,
    }
    return {form: round(judge.dice(controller), 3) for form, controller in found.items()}


def _without_image(samples: Samples) -> Samples:
    """The same voxels with an image vector that says nothing."""
    return replace(samples, image=torch.zeros_like(samples.image))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", default="spleen,gallbladder")
    parser.add_argument("--scans", type=int, default=5)
    parser.add_argument("--work", type=Path, help="folder that keeps phantoms and samples")
    parser.add_argument("--threads", type=int, help="taken for the sake of the other scripts")
    parser.add_argument("--quick", action="store_true", help="one class from two phantoms")
    options = parser.parse_args()
    if options.quick:
        options.classes, options.scans = "spleen", 2
    return options


if __name__ == "__main__":
    main()

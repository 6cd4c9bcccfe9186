"""Make the bundled demo weights: `python -m recipes.demo_weights COMMAND`, from a checkout."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from umlite.errors import UmliteError
from umlite.outputs.file_set import replacing

_ENVIRONMENT = (
    "With glibc, MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=4000000000 saves the page faults of large "
    "tensors. With MKL_CBWR=COMPATIBLE a run repeats bit for bit; without it, MKL rounds by where memory lies."
)
_DATA = "folder of example_ct.nii.gz, example_structures.nii.gz and example_structures.json"

Run = Callable[[argparse.Namespace], None]


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code: 0, or 2 with a message on standard error."""
    options = make_parser().parse_args(arguments)
    run: Run = options.run
    try:
        run(options)
    except UmliteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(prog="python -m recipes.demo_weights", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Run, help: str, epilog: str | None = None) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help.capitalize() + ".", epilog=epilog)
        added.set_defaults(run=run)
        return added

    embed = command("embed", _embed, "write text embeddings of the class prompts (needs the extra `training`)")
    embed.add_argument("file", type=Path, help=".npy file to write")
    lessons = command("lessons", _lessons, "write what training learns from real scans: labels and cleaned answers")
    lessons.add_argument("weights", type=Path, help="weights file whose answers are believed")
    lessons.add_argument("data", type=Path, help="folder of the scans that patients.py lists")
    lessons.add_argument("folder", type=Path, help="existing folder for one file per scan")
    _add_training_options(command("train", _train, "train, or continue the folder's checkpoint", _ENVIRONMENT))
    export = command("export", _export, "write the averaged weights of a checkpoint as a weights file")
    export.add_argument("folder", type=Path, help="folder of the checkpoint")
    export.add_argument("weights", type=Path, help=".safetensors file to write")
    mean = command("mean", _mean, "write the mean of two weights files, the second trained on from the first")
    mean.add_argument("first", type=Path, help="weights file")
    mean.add_argument("second", type=Path, help="weights file")
    mean.add_argument("weights", type=Path, help=".safetensors file to write")
    calibrate = command("calibrate", _calibrate, "shift each class's logits to its best Dice on held-out phantoms")
    calibrate.add_argument("before", type=Path, help="weights file to read")
    calibrate.add_argument("weights", type=Path, help=".safetensors file to write")
    calibrate.add_argument("--phantoms", type=int, default=40, help="number of phantoms (default: %(default)s)")
    evaluate = command("evaluate", _evaluate, "measure Dice on phantoms that no training saw, and on the real scan")
    evaluate.add_argument("weights", type=Path, help="weights file")
    evaluate.add_argument("report", type=Path, help=".json file to write")
    evaluate.add_argument("--phantoms", type=int, default=20, help="number of phantoms (default: %(default)s)")
    evaluate.add_argument("--data", type=Path, help=_DATA)
    patients = command("patients", _patients, "measure Dice on the real scans that patients.py lists")
    patients.add_argument("report", type=Path, help=".json file to write")
    patients.add_argument("weights", type=Path, nargs="+", help="weights files to compare, the oldest first")
    patients.add_argument("--data", type=Path, required=True, help="folder of the scans")
    pictures = command("pictures", _pictures, "draw the pictures of docs/demo.md with the bundled weights")
    pictures.add_argument("data", type=Path, help="folder of the scans")
    pictures.add_argument("docs", type=Path, help="folder of the pictures")
    return parser


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder for checkpoint.pt and log.jsonl")
    parser.add_argument("--data", type=Path, required=True, help=_DATA)
    parser.add_argument("--lessons", type=Path, required=True, help="folder that `lessons` wrote")
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--start", type=Path, help="weights file to train on from")
    start.add_argument("--embedding", type=Path, help="file that `embed` wrote, to begin with random weights")
    default = " (default: %(default)s)"
    parser.add_argument("--steps", type=int, default=900, help="length of the schedule" + default)
    parser.add_argument("--spacing", type=float, default=3.0, help="voxels in mm; coarse ones learn faster" + default)
    parser.add_argument("--batch", type=int, default=2, help="windows a step" + default)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3, help="highest learning rate" + default)
    parser.add_argument("--decay", type=int, help="last steps, in which the rate falls (default: all)")
    parser.add_argument("--generator-rate", type=float, default=0.3, help="share of the rate for the heads" + default)
    parser.add_argument("--lesions", type=float, default=1.0, help="weight of a lesion's class in the loss" + default)
    parser.add_argument("--average", type=float, default=0.99, help="decay of the moving average, a step" + default)
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, images and windows" + default)
    parser.add_argument(
        "--validate-every", type=int, default=300, help="steps between validations; 0 for none" + default
    )
    parser.add_argument(
        "--supervision", type=float, default=0.5, help="weight of the linear heads; 0 for none" + default
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="windows at a time" + default)
    parser.add_argument("--workers", type=int, default=1, help="processes that make images" + default)


def _embed(options: argparse.Namespace) -> None:
    import numpy as np

    from recipes.demo_weights.recipe import CLASSES
    from umlite.training.embeddings import embed_classes

    rows = embed_classes(CLASSES)
    with replacing(options.file) as temporary, open(temporary, "wb") as file:
        np.save(file, rows)


def _lessons(options: argparse.Namespace) -> None:
    from recipes.demo_weights.answers import write_lessons

    write_lessons(options.weights, options.data, options.folder)


def _train(options: argparse.Namespace) -> None:
    import torch

    from recipes.demo_weights import recipe
    from recipes.demo_weights.weights_file import load_network
    from umlite.training.schedule import TrainingOptions
    from umlite.training.train import Training

    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers end too
    schedule = TrainingOptions(
        steps=options.steps,
        batch=options.batch,
        learning_rate=options.learning_rate,
        decay=options.decay,
        generator_rate=options.generator_rate,
        average=options.average,
        seed=options.seed,
        supervision=options.supervision,
        validate_every=options.validate_every,
    )
    model = load_network(options.start) if options.start else recipe.build_model(options.embedding, options.seed)
    loss = recipe.build_loss(options.lesions)
    training = Training(model, recipe.CLASSES, loss, schedule, options.folder, options.threads)
    source = recipe.build_source(options.data, options.lessons, options.seed, options.spacing)
    with recipe.build_stream(source, options.seed, options.workers) as stream:
        validated = recipe.build_validation(options.data, options.spacing) if options.validate_every else ()
        training.run(stream, validated)


def _export(options: argparse.Namespace) -> None:
    from recipes.demo_weights.weights_file import export
    from umlite.training.checkpoint import averaged_weights

    export(averaged_weights(options.folder), options.weights)


def _mean(options: argparse.Namespace) -> None:
    from recipes.demo_weights.weights_file import mean_of_weights

    mean_of_weights(options.first, options.second, options.weights)


def _calibrate(options: argparse.Namespace) -> None:
    from recipes.demo_weights.weights_file import calibrate

    print(calibrate(options.before, options.phantoms, options.weights))


def _patients(options: argparse.Namespace) -> None:
    from recipes.demo_weights.real_dice import measure_patients

    print(measure_patients(options.weights, options.data, options.report))


def _pictures(options: argparse.Namespace) -> None:
    from recipes.demo_weights.pictures import draw

    draw(options.data, options.docs)


def _evaluate(options: argparse.Namespace) -> None:
    from recipes.demo_weights.evaluate import evaluate

    print(evaluate(options.weights, options.phantoms, options.data, options.report))


if __name__ == "__main__":
    raise SystemExit(main())

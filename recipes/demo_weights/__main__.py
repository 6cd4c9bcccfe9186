"""`python -m recipes.demo_weights`: embed, train, export, average, calibrate and evaluate the bundled demo weights."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from umlite.errors import UmliteError

_ENVIRONMENT = (
    "With glibc, MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=4000000000 saves the page faults of large "
    "tensors. MKL_CBWR=COMPATIBLE makes a run repeat bit for bit; without it, MKL rounds by where memory lies."
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.demo_weights", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    embed = commands.add_parser("embed", help="text embeddings of the class prompts (needs the extra `training`)")
    embed.add_argument("file", type=Path, help="the .npy file to write")

    train = commands.add_parser("train", help="train, or go on from the folder's checkpoint", epilog=_ENVIRONMENT)
    train.add_argument("folder", type=Path, help="for checkpoint.pt and log.jsonl")
    train.add_argument("--data", type=Path, required=True, help="folder of example_ct and example_structures")
    train.add_argument("--embedding", type=Path, required=True, help="file that `embed` wrote")
    train.add_argument("--steps", type=int, default=900, help="length of the schedule")
    train.add_argument("--start", type=Path, help="weights file to begin with, else from nothing")
    train.add_argument("--spacing", type=float, default=3.0, help="mm; a coarse first part teaches where organs lie")
    train.add_argument("--batch", type=int, default=2, help="windows a step")
    train.add_argument("--learning-rate", type=float, default=1.5e-3)
    train.add_argument("--decay", type=int, help="last steps, in which the rate falls; all by default")
    train.add_argument("--generator-rate", type=float, default=0.3, help="of the rate, for what makes heads")
    train.add_argument("--lesions", type=float, default=1.0, help="weight of a lesion's class in the loss")
    train.add_argument("--average", type=float, default=0.99, help="decay of the moving average, per step")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="windows at a time")
    train.add_argument("--workers", type=int, default=1, help="processes that make images")

    export = commands.add_parser("export", help="write the averaged weights of a checkpoint as a weights file")
    export.add_argument("folder", type=Path, help="of the checkpoint")
    export.add_argument("weights", type=Path, help="the .safetensors file to write")
    export.add_argument("--embedding", type=Path, required=True, help="file that `embed` wrote")

    mean = commands.add_parser("mean", help="write the mean of two weights files, one trained on from the other")
    mean.add_argument("first", type=Path)
    mean.add_argument("second", type=Path)
    mean.add_argument("weights", type=Path, help="the .safetensors file to write")

    calibrate = commands.add_parser("calibrate", help="shift each class's logits to its best Dice on held-out phantoms")
    calibrate.add_argument("before", type=Path, help="the weights file to read")
    calibrate.add_argument("weights", type=Path, help="the .safetensors file to write")
    calibrate.add_argument("--phantoms", type=int, default=40)

    evaluate = commands.add_parser("evaluate", help="Dice on phantoms never trained on, and on the real scan")
    evaluate.add_argument("weights", type=Path)
    evaluate.add_argument("report", type=Path, help="the .json file to write")
    evaluate.add_argument("--phantoms", type=int, default=20)
    evaluate.add_argument("--data", type=Path, help="folder of example_ct and example_structures")

    options = parser.parse_args(arguments)
    try:
        _COMMANDS[options.command](options)
    except UmliteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _embed(options: argparse.Namespace) -> None:
    import numpy as np

    from umlite.classes import PUBLISHED
    from umlite.training.embeddings import embed_classes

    np.save(options.file, embed_classes([c.name for c in PUBLISHED]))


def _train(options: argparse.Namespace) -> None:
    import torch

    from recipes.demo_weights import recipe
    from umlite.training.schedule import Options
    from umlite.training.train import Training

    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers end too
    schedule = Options(
        steps=options.steps,
        batch=options.batch,
        learning_rate=options.learning_rate,
        decay=options.decay,
        generator_rate=options.generator_rate,
        average=options.average,
        seed=options.seed,
    )
    model = recipe.build_model(options.embedding, options.seed, options.start)
    weights = recipe.class_weights(options.lesions)
    training = Training(
        model, recipe.CLASSES, schedule, options.folder, options.threads, weights, recipe.host_classes()
    )
    source = recipe.build_source(options.data, options.seed, options.spacing)
    with recipe.build_stream(source, options.seed, options.workers) as stream:
        training.run(stream, recipe.build_validation(options.data, options.spacing))


def _export(options: argparse.Namespace) -> None:
    import torch

    from recipes.demo_weights import recipe
    from umlite.training.train import CHECKPOINT

    state = torch.load(options.folder / CHECKPOINT, weights_only=True)
    network = recipe.build_model(options.embedding, 0).config
    recipe.export(state["average"], network, options.weights)


def _mean(options: argparse.Namespace) -> None:
    from recipes.demo_weights import recipe

    recipe.mean_of_weights(options.first, options.second, options.weights)


def _calibrate(options: argparse.Namespace) -> None:
    from recipes.demo_weights import recipe

    print(recipe.calibrate(options.before, options.phantoms, options.weights))


def _evaluate(options: argparse.Namespace) -> None:
    from recipes.demo_weights.evaluate import evaluate

    print(evaluate(options.weights, options.phantoms, options.data, options.report))


_COMMANDS = {
    "embed": _embed,
    "train": _train,
    "export": _export,
    "mean": _mean,
    "calibrate": _calibrate,
    "evaluate": _evaluate,
}

if __name__ == "__main__":
    raise SystemExit(main())

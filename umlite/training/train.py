"""The training loop: resumable, reproducible from its seed, with a moving average of the weights."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from umlite.errors import InputError
from umlite.files import make_folder
from umlite.models.universal import UniversalModel
from umlite.results.metrics import dice_of_counts
from umlite.training.checkpoint import CHECKPOINT, read_checkpoint, write_checkpoint
from umlite.training.dataset import Batch, WindowStream
from umlite.training.image import unpack_bits
from umlite.training.loss import Loss, count_voxels
from umlite.training.network import Average, Supervision, window_logits
from umlite.training.schedule import TrainingOptions

LOG = "log.jsonl"


class Training:
    """A training run: model, optimiser and moving average at some step.

    Only parameters that require gradients change. A checkpoint in `folder` is continued.

    Args:
        model: becomes the trained one.
        classes: names of its classes, in order.
        loss: what to minimise.
        options: schedule and numbers.
        folder: keeps checkpoint.pt and log.jsonl.
        threads: windows at a time, one thread each; on a CPU that beats several threads in every operation.

    Raises:
        InputError: the checkpoint is damaged or belongs to another model.
        OutputError: the folder cannot be made.
    """

    def __init__(
        self,
        model: UniversalModel,
        classes: Sequence[str],
        loss: Loss,
        options: TrainingOptions,
        folder: Path,
        threads: int = 1,
    ) -> None:
        self.model, self.classes, self.options, self.folder = model.train(), tuple(classes), options, folder
        self._loss = loss
        self._coarse = model.config.backbone.window_multiple  # voxels of a window along one of the bottleneck
        self._threads = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        with torch.random.fork_rng():
            torch.manual_seed(options.seed)
            self.supervision = Supervision(model) if options.supervision else None
        extra = list(self.supervision.parameters()) if self.supervision else []
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for name, p in named if not _makes_heads(name)] + extra},
                {"params": [p for name, p in named if _makes_heads(name)]},
            ],
            options.learning_rate,
            weight_decay=options.weight_decay,
        )
        self.average = Average(model, options.average)
        self.step = 0
        make_folder(folder)
        if (folder / CHECKPOINT).exists():
            self._load()

    def run(self, stream: WindowStream, validation: Sequence[Batch] = (), until: int | None = None) -> None:
        """Train to the end of the schedule, or to step `until`, and save.

        Args:
            stream: windows to train on; step n takes windows n * batch and on.
            validation: windows to measure Dice on, every `validate_every` steps and at the end.
            until: a step to stop at.

        Raises:
            OutputError: a checkpoint cannot be written.
        """
        options, started, losses = self.options, time.perf_counter(), []
        for batch in self._batches(stream, min(options.steps, until or options.steps)):
            losses.append(self._train_step(batch))
            self.step += 1
            done = self.step == options.steps
            if self.step % options.log_every == 0 or done:
                seconds = (time.perf_counter() - started) / len(losses)
                self._log(kind="train", loss=round(float(np.mean(losses)), 5), seconds_per_step=round(seconds, 3))
                started, losses = time.perf_counter(), []
            if validation and (self.step % options.validate_every == 0 or done):
                self._log(kind="validation", dice=self.validate(validation))
                started = time.perf_counter()
            if self.step % options.save_every == 0 or done:
                self.save()
        self.save()

    def validate(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Dice of the averaged weights over all windows together, of every class that occurs there."""
        trained = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.tensors)
        every = (slice(None),) * 3
        total = torch.zeros(len(self.classes), 3, dtype=torch.float64)
        with torch.inference_mode():
            for batch in batches:
                for i in range(len(batch.voxels)):
                    logits, _, _ = window_logits(self.model, batch.voxels[i : i + 1], every)
                    total += count_voxels(logits, *_truth(batch, slice(i, i + 1), every, len(self.classes)))
        self.model.load_state_dict(trained)
        overlap, guessed, true = total.numpy().T
        dice = dice_of_counts(overlap, guessed, true)
        return {name: round(float(dice[c]), 4) for c, name in enumerate(self.classes) if true[c] > 0}

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.tensors,
            "supervision": self.supervision.state_dict() if self.supervision else {},
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "rng": torch.get_rng_state(),
            "options": asdict(self.options),
        }
        write_checkpoint(self.folder, state)

    def _load(self) -> None:
        state = read_checkpoint(self.folder)
        try:
            self.model.load_state_dict(state["model"])
            if self.supervision:
                self.supervision.load_state_dict(state["supervision"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.tensors, self.step = state["average"], state["step"]
            torch.set_rng_state(state["rng"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(f"{self.folder / CHECKPOINT} belongs to another model: choose another folder.") from error

    def _batches(self, stream: WindowStream, stop: int) -> Iterator[Batch]:
        """The batches of the steps up to `stop`, each made while the one before it is trained on."""
        size = self.options.batch
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(stream.batch, self.step * size, size) if self.step < stop else None
            while coming:
                batch = coming.result()
                more = self.step + 1 < stop
                coming = ahead.submit(stream.batch, (self.step + 1) * size, size) if more else None
                yield batch

    def _train_step(self, batch: Batch) -> float:
        options = self.options
        for group, scale in zip(self.optimizer.param_groups, (1.0, options.generator_rate), strict=True):
            group["lr"] = scale * options.learning_rate_at(self.step)
        rng = np.random.default_rng([options.seed, 2, self.step])
        at = tuple(slice(int(first), None, options.stride) for first in rng.integers(options.stride, size=3))
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]

        def differentiate(n: int) -> tuple[float, tuple[Tensor, ...]]:
            here = slice(n, n + 1)
            logits, fine, coarse = window_logits(self.model, batch.voxels[here], at, self.supervision)
            truth = _truth(batch, here, at, len(self.classes))
            loss = self._loss(logits, *truth)
            if fine is not None and coarse is not None:
                centres = _truth(batch, here, (slice(self._coarse // 2, None, self._coarse),) * 3, len(self.classes))
                loss = loss + options.supervision * (self._loss(fine, *truth) + self._loss(coarse, *centres))
            # biases in front of a norm change nothing, and the native backbone leaves them out
            return float(loss.detach()), torch.autograd.grad(loss, trained, materialize_grads=True)

        losses, gradients = zip(*self._threads.map(differentiate, range(len(batch.voxels))), strict=True)
        for parameter, parts in zip(trained, zip(*gradients, strict=True), strict=True):
            parameter.grad = torch.stack(parts).mean(0)
        torch.nn.utils.clip_grad_norm_(trained, options.clip)
        self.optimizer.step()
        self.average.update(self.model, self.step)
        return sum(losses) / len(losses)

    def _log(self, **entry: Any) -> None:
        rate = round(self.options.learning_rate_at(self.step), 6)
        now = {"step": self.step, "learning_rate": rate, "time": round(time.time())}
        line = json.dumps({**now, **entry})
        with open(self.folder / LOG, "a") as file:
            file.write(line + "\n")
        print(line, file=sys.stderr, flush=True)


def _makes_heads(name: str) -> bool:
    return name.startswith("generator.") and not name.startswith("generator.gap.")


def _truth(batch: Batch, which: slice, at: tuple[slice, ...], classes: int) -> tuple[Tensor, Tensor]:
    """Present and known at some voxels of some windows of a batch, bool [N, classes, V]."""
    present, known = (
        torch.from_numpy(unpack_bits(bits[(which, *at)], classes)).flatten(2) for bits in (batch.present, batch.known)
    )
    return present, known

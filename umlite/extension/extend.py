"""`extend`: from labelled scans to a pack whose class the network knows from then on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from umlite.class_table import ClassTable
from umlite.errors import RequestError, UmliteError, WeightsError
from umlite.extension import starts
from umlite.extension.labelled import Labelled
from umlite.extension.learning import Controller, Curve, Learner
from umlite.extension.samples import Sampler, Samples, content_hash
from umlite.kernels.implementations import REFERENCE
from umlite.models.parameter_generator import ParameterGenerator
from umlite.progress import Notify, no_notice
from umlite.weights.loading import load_model
from umlite.weights.packs import Pack, PackCard, Step, network_sha256

if TYPE_CHECKING:
    from umlite.api import Segmenter

HELD_OUT = 0.2
LEAST_SCANS = 2
TRIAL_STEPS = 100
LEAST_DICE = 0.1
"""Dice of held-out samples under which they cannot tell which answer is better."""


@dataclass(frozen=True)
class Task:
    """What is to be learned.

    Args:
        name: of the new class.
        replaces: whether it takes the place of a class of the network.
        held_out: share of scans that judge, at least one.
        seed: of everything that is chosen at random.
        embedding: text features of the class for a start; None for none.
        text: whether the text features of its name, by the encoder that training has, are such a start.
        license: of the pack.
        hard: whether voxels that a first answer gets wrong are learned from too.
    """

    name: str
    replaces: bool = False
    held_out: float = HELD_OUT
    seed: int = 0
    embedding: Tensor | None = None
    text: bool = False
    license: str = ""
    hard: bool = True


@dataclass(frozen=True, eq=False)
class Extension:
    """The outcome.

    Args:
        pack: the new class.
        trained_on, held_out: names of cases.
        skipped: (case, reason) of scans that could not be used.
        curve: of learning.
        sample_dice: Dice over the samples of held-out scans.
        nearest: existing classes whose heads answer most like the mask, with their Dice over the samples.
        kept_bytes: of samples on disk.
    """

    pack: Pack
    trained_on: tuple[str, ...]
    held_out: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    curve: Curve
    sample_dice: float
    nearest: tuple[tuple[str, float], ...]
    kept_bytes: int

    @property
    def used(self) -> tuple[str, ...]:
        """Names of all cases that were used."""
        return (*self.trained_on, *self.held_out)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the numbers, ready for JSON."""
        return {
            "classes": self.pack.card.classes,
            "trained_on": list(self.trained_on),
            "held_out": list(self.held_out),
            "skipped": [{"case": case, "reason": reason} for case, reason in self.skipped],
            "curve": asdict(self.curve),
            "held_out_sample_dice": round(self.sample_dice, 4),
            "nearest_classes": [{"name": name, "dice": round(value, 4)} for name, value in self.nearest],
            "samples_megabytes": round(self.kept_bytes / 1e6, 1),
        }


_Used = tuple[Labelled, str, Samples]
"""A scan that can be used, the hash of its content, its samples."""


@dataclass(eq=False)
class Teacher:
    """Learns a class of a network whose numbers stay.

    Args:
        segmenter: the network, on the CPU.
        folder: keeps samples, so that a later run continues.
        notify: gets a sentence per step.
        stop: asked now and then; true ends learning with the best so far.
    """

    segmenter: Segmenter
    folder: Path
    notify: Notify = no_notice
    stop: Callable[[], bool] = lambda: False
    base: str = field(init=False)

    def __post_init__(self) -> None:
        """Raise WeightsError for a network without a parameter generator."""
        model, card = load_model(self.segmenter.weights_path, REFERENCE)
        if not isinstance(model.generator, ParameterGenerator):
            raise WeightsError(
                f"{card.name} is a {card.network.backbone.kind}: classes are added to networks with a parameter "
                "generator, and it has none. Use a Universal Model (U-Net or Swin UNETR).",
                about="weights",
            )
        self.base, self._generator = network_sha256(model.state_dict()), model.generator

    def teach(self, scans: Sequence[Labelled], task: Task) -> Extension:
        """Learn a class from scans.

        Raises:
            RequestError: a name that the network has or cannot have, text that cannot be used, or too few scans.
            InputError: every scan is unusable.
        """
        name = self._name(task)
        if task.text:
            from umlite.extension.text import encoded

            task = replace(task, embedding=encoded(self._generator, self.segmenter.classes.names, name))
        if task.embedding is not None:
            self.notify(self._by_text(task.embedding))
        sampler = Sampler(self.segmenter, self.base, self.folder, task.seed)
        train, held_out, skipped = self._samples(scans, task, sampler)
        judges = held_out or train
        learner = Learner([s for *_, s in train], [s for *_, s in judges], task.seed, self.stop)
        nearest = self._nearest(learner)
        controller, value, curve = self._learn(learner, nearest, task)
        if task.hard and value >= LEAST_DICE and not self.stop():
            self.notify("Looking for what the first answer gets wrong")
            hard = [sampler.hard(labelled, content, controller.logits) for labelled, content, _ in train]
            again = Learner([*learner.train, *hard], learner.held_out, task.seed + 1, self.stop)
            better, better_value, more = again.learn(controller, f"{curve.start}, then mistakes")
            if better_value > value:
                controller, value, curve = better, better_value, Curve(curve.points + more.points, more.start)
        card = PackCard(
            (name,),
            self.base,
            (name,) if task.replaces else (),
            self.segmenter.card.name,
            self.segmenter.card.license,
            task.license,
            data=f"{len(train)} labelled scans, {len(held_out)} held out",
            history=(Step(f"learned {name} from {len(train)} scans, seed {task.seed}", (self.base,)),),
        )
        return Extension(
            Pack(card, controller.weight[None], controller.bias[None]),
            tuple(labelled.name for labelled, *_ in train),
            tuple(labelled.name for labelled, *_ in held_out),
            tuple(skipped),
            curve,
            value,
            tuple(nearest)[:3],
            sum(samples.bytes for *_, samples in (*train, *held_out)),
        )

    def _samples(
        self, scans: Sequence[Labelled], task: Task, sampler: Sampler
    ) -> tuple[list[_Used], list[_Used], list[tuple[str, str]]]:
        """Samples of scans to learn from and of those that judge, and (case, reason) of those that cannot be used."""
        usable: list[_Used] = []
        skipped = []
        for number, labelled in enumerate(scans):
            try:
                content = content_hash(labelled)
                kept = ", kept from an earlier run" if sampler.keeps(content) else ""
                self.notify(f"Features of {labelled.name} ({number + 1} of {len(scans)}){kept}")
                usable.append((labelled, content, sampler.of(labelled, content)))
            except (UmliteError, OSError) as error:
                skipped.append((labelled.name, str(error)))
                self.notify(f"{labelled.name} is left out: {error}")
        if len(usable) < LEAST_SCANS:
            found = f"found {len(usable)}" + (f" and {len(skipped)} that cannot be used" if skipped else "")
            raise RequestError(f"Expected at least {LEAST_SCANS} labelled scans, {found}.", about="data")
        shown = [bool(samples.inside.any()) for *_, samples in usable]
        if not any(shown):
            raise RequestError("No scan that shows the class can be learned from.", about="data")
        judging = held_out_places(shown, task.held_out, task.seed)
        if not any(shown[n] for n in judging):
            self.notify("Only one scan shows the class: it is learned from and judges too.")
            judging = set()
        groups = ([one for n, one in enumerate(usable) if (n in judging) is held] for held in (False, True))
        train, held_out = groups
        return train, held_out, skipped

    def _name(self, task: Task) -> str:
        names = self.segmenter.classes.names
        (name,) = ClassTable([task.name]).names
        if (name in names) is not task.replaces:
            said = "has already: replace it to correct it" if name in names else "does not have: add it instead"
            raise RequestError(f"{name} is a class that {self.segmenter.card.name} {said}.", about=("name", "replaces"))
        return name

    def _starts(
        self, train: Sequence[Samples], nearest: Sequence[tuple[str, float]], task: Task
    ) -> list[tuple[str, Controller]]:
        """Controllers to begin with, each with what it is called."""
        generator, random = self._generator, torch.Generator().manual_seed(task.seed)
        found = [(f"the head of {name}", self._existing(name)) for name, _ in nearest[:2]]
        if task.embedding is not None:
            found.append(("text", starts.of_text(generator, task.embedding)))
        found.append(("a linear probe", starts.of_probe(generator, train, random)))
        return [*found, ("random numbers", starts.at_random(generator, random))]

    def _nearest(self, learner: Learner) -> list[tuple[str, float]]:
        """Existing classes by the Dice of their heads over the samples, best first; those that overlap at all."""
        found = [(name, learner.dice(self._existing(name))) for name in self.segmenter.classes.names]
        return sorted((one for one in found if one[1] > 0.01), key=lambda one: -one[1])

    def _by_text(self, embedding: Tensor) -> str:
        """The nearest classes by text, so that a wrong text shows before anything is computed."""
        names = self.segmenter.classes.names
        nearest = starts.nearest_by_text(self._generator, embedding)[:3]
        return "Nearest classes by text: " + ", ".join(f"{names[head]} ({cosine:.2f})" for head, cosine in nearest)

    def _existing(self, name: str) -> Controller:
        return starts.existing(self._generator, self.segmenter.classes.head_of(name))

    def _learn(
        self, learner: Learner, nearest: Sequence[tuple[str, float]], task: Task
    ) -> tuple[Controller, float, Curve]:
        """Try every start for some steps, and go on with the best.

        Where none finds the class in the scans that judge, learning would stop by chance: a linear probe is the answer.
        """
        tried = []
        for name, start in self._starts(learner.train, nearest, task):
            tried.append(learner.learn(start, name, TRIAL_STEPS))
            self.notify(f"From {name}: Dice {tried[-1][1]:.3f} of held-out samples after {TRIAL_STEPS} steps")
        best, value, trial = max(tried, key=lambda one: one[1])
        if value < LEAST_DICE:
            self.notify("No answer finds the class in the scans that judge: the simplest one, a linear probe, is kept")
            probe = starts.of_probe(self._generator, learner.train, torch.Generator().manual_seed(task.seed))
            dice = learner.dice(probe)
            return probe, dice, Curve(((0, 0.0, dice),), "a linear probe")
        controller, final, curve = learner.learn(best, trial.start)
        return (controller, final, curve) if final > value else (best, value, trial)


def held_out_places(shown: Sequence[bool], share: float, seed: int) -> set[int]:
    """Which scans judge: the same share of those that show the class and of the others, at least one that shows it.

    shown: whether each scan shows the class. Where only one does, it does not judge.
    """
    random = np.random.default_rng(seed)
    held: set[int] = set()
    for kind in (True, False):
        places = [n for n, one in enumerate(shown) if one is kind]
        few = kind and len(places) < LEAST_SCANS
        count = 0 if few else max(int(kind), round(share * len(places)))
        held |= {places[int(n)] for n in random.permutation(len(places))[:count]}
    return held

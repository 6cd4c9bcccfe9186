"""Do weights answer as those of a trained network do? Two windows of a synthetic patient tell in seconds.

A checkpoint with a wrong backbone, layers in other places, no text embeddings or classes in another order converts
without an error, and its masks are nonsense. Here its masks are compared with the patient's organs. The limits were
chosen on eight networks trained on such patients and on damaged ones (LOG.md, 2026-11-28); no published weights were at
hand. A network that was trained on patients alone may see less in a drawn one: what is found is a warning, no verdict.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from umlite.checks.patient import LEAST_ML, Views, draw_views, reason_against
from umlite.engines.options import EngineOptions
from umlite.errors import UmliteError
from umlite.progress import Notify, no_notice
from umlite.results.metrics import dice_of_counts

FOUND_DICE = 0.3  # trained networks: 0.47 and more of every organ
FOUND_SHARE = 0.5  # of the organs; trained: all, damaged: none to half, where the damage matters
MOST_CLASSES_PER_VOXEL = 2.0  # trained: 0.4; classes overlap little by nature
MOST_LIKENESS = 0.95  # median correlation of two classes' logits; trained: 0.5, without text: 1
LEAST_PIECE = 0.6  # share of a mask's largest piece, mean over organs; trained: 0.94 and more
SAMPLE = 5000  # voxels that the correlation is computed from


@dataclass(frozen=True)
class WeightsFinding:
    """Something that no trained network does. code: found, order, overlap, alike, speckle or finite."""

    code: str
    sentence: str


@dataclass(frozen=True)
class SmokeTest:
    """What a network made of the patient.

    Attributes:
        dice: agreement with each organ in view, by name.
        findings: what speaks against the weights; empty for weights that answer like a trained network's.
        skipped: why nothing was tried, else empty.
        seconds: time it took.
    """

    dice: Mapping[str, float]
    findings: tuple[WeightsFinding, ...] = ()
    skipped: str = ""
    seconds: float = 0.0

    @property
    def found(self) -> tuple[str, ...]:
        """Organs whose masks lie on them."""
        return tuple(name for name, value in self.dice.items() if value >= FOUND_DICE)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "done": not self.skipped,
            "skipped": self.skipped,
            "organs": len(self.dice),
            "found": list(self.found),
            "dice": {name: round(value, 3) for name, value in self.dice.items()},
            "findings": [vars(finding) for finding in self.findings],
            "seconds": round(self.seconds, 1),
        }


def smoke_test(
    weights: str | os.PathLike[str], options: EngineOptions | None = None, *, notify: Notify = no_notice
) -> SmokeTest:
    """Run the windows of the synthetic patient through weights and judge the answers.

    Args:
        weights: an installed name or a .safetensors file.
        options: how to compute; by default as for a scan.
        notify: gets a sentence where loading takes longer than usual.

    Raises:
        WeightsError: weights that are missing or damaged.
    """
    from umlite.weights.loading import read_card
    from umlite.weights.store import resolve

    began = time.perf_counter()
    card = read_card(resolve(weights))
    if reason := reason_against(card):
        return SmokeTest({}, skipped=reason)
    try:
        views = draw_views(card)
        dice, findings = judge(answers(weights, views, options, notify=notify), card.classes, views)
    except (UmliteError, MemoryError) as error:  # the file is sound, this machine cannot run it
        return SmokeTest({}, skipped=str(error) or "too little memory", seconds=time.perf_counter() - began)
    return SmokeTest(dice, findings, seconds=time.perf_counter() - began)


def answers(
    weights: str | os.PathLike[str], views: Views, options: EngineOptions | None = None, *, notify: Notify = no_notice
) -> NDArray[np.float32]:
    """Logits [N, classes, X, Y, Z] of the views. Raises as Segmenter does."""
    import torch

    from umlite.api import Segmenter

    segmenter = Segmenter(weights, options, notify=notify)
    return np.concatenate([segmenter.window_logits(torch.from_numpy(x[None])).cpu().numpy() for x in views.x])


def judge(
    logits: NDArray[np.float32], classes: tuple[str, ...], views: Views
) -> tuple[dict[str, float], tuple[WeightsFinding, ...]]:
    """Dice of each organ in view, and what speaks against the network that gave `logits` [N, classes, X, Y, Z]."""
    if not np.isfinite(logits).all():
        return {}, (WeightsFinding("finite", "Some answers are no numbers (NaN or infinite)."),)
    organs = {n: mask for n, mask in views.organs.items() if mask.sum() * views.voxel_ml >= LEAST_ML}
    masks = logits > 0
    sizes = masks.sum(axis=(0, 2, 3, 4))
    table = {  # Dice of every class's mask with each organ
        name: dice_of_counts((masks & organ[:, None]).sum(axis=(0, 2, 3, 4)), sizes, organ.sum())
        for name, organ in organs.items()
    }
    dice = {name: float(row[classes.index(name)]) for name, row in table.items()}
    found = (_missing(dice), _misplaced(table, classes, dice), _overlapping(masks, views), _alike(logits))
    speckled = _speckled([masks[:, classes.index(name)] for name in organs])
    return dice, tuple(finding for finding in (*found, speckled) if finding)


def _missing(dice: Mapping[str, float]) -> WeightsFinding | None:
    seen = [f"{name} {value:.2f}" for name, value in dice.items() if value >= FOUND_DICE]
    unseen = [name for name, value in dice.items() if value < FOUND_DICE]
    if len(seen) >= FOUND_SHARE * len(dice):
        return None
    which = f" (Dice: {', '.join(seen)})" if seen else ""
    return WeightsFinding(
        "found",
        f"{len(seen)} of {len(dice)} large organs of a synthetic patient were found{which}, not {', '.join(unseen)}.",
    )


def _misplaced(
    table: Mapping[str, NDArray[np.float64]], classes: tuple[str, ...], dice: Mapping[str, float]
) -> WeightsFinding | None:
    """Two organs at least that lie under another class's mask: one alone happens to trained networks."""
    other = {name: classes[int(row.argmax())] for name, row in table.items() if row.max() >= FOUND_DICE > dice[name]}
    if len(other) < 2:
        return None
    pairs = "; ".join(f"that of {mask} lies on {name}" for name, mask in other.items())
    return WeightsFinding("order", f"Masks lie on other organs ({pairs}): the classes may be in another order.")


def _overlapping(masks: NDArray[np.bool_], views: Views) -> WeightsFinding | None:
    mean = float(masks.sum(axis=1)[views.inside].mean())
    if mean <= MOST_CLASSES_PER_VOXEL:
        return None
    return WeightsFinding("overlap", f"A voxel of the body belongs to {mean:.1f} classes on average, expected under 1.")


def _alike(logits: NDArray[np.float32]) -> WeightsFinding | None:
    """Correlation of classes over voxels; a class that is the same everywhere is like every other."""
    rows = np.moveaxis(logits, 1, 0).reshape(logits.shape[1], -1)
    rows = rows[:, :: max(1, rows.shape[1] // SAMPLE)].astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1)
    products = rows @ rows.T
    likeness = np.divide(products, np.outer(norms, norms), out=np.ones_like(products), where=np.outer(norms, norms) > 0)
    median = float(np.median(likeness[np.triu_indices(len(rows), 1)]))
    if median <= MOST_LIKENESS:
        return None
    return WeightsFinding(
        "alike", f"All classes answer alike (correlation {median:.2f}): the text embeddings may be missing."
    )


def _speckled(masks: list[NDArray[np.bool_]]) -> WeightsFinding | None:
    import cc3d

    shares = []
    for mask in masks:
        if mask.any():
            pieces = [cc3d.connected_components(np.ascontiguousarray(window), connectivity=26) for window in mask]
            largest = sum(int(np.bincount(piece.ravel())[1:].max(initial=0)) for piece in pieces)
            shares.append(largest / int(mask.sum()))
    if not shares or (mean := sum(shares) / len(shares)) >= LEAST_PIECE:
        return None
    return WeightsFinding(
        "speckle", f"Masks are scattered: the largest piece holds {mean:.0%} of a mask, expected over 90 %."
    )

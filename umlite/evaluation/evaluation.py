"""Evaluation of predicted masks against true ones: every case, then the cohort."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from umlite.class_table import class_words
from umlite.errors import InputError, RequestError
from umlite.evaluation.agreement import Agreement, agreement
from umlite.evaluation.cases import Masks, check_same_grid, match_cases
from umlite.evaluation.cohort import Bootstrap, Summary, summarise
from umlite.evaluation.naming import read_names, requested_names
from umlite.evaluation.tolerances import is_lesion, tolerance_mm

_MOST_LISTED = 3


@dataclass(frozen=True)
class EvaluationOptions:
    """How masks are compared.

    Args:
        classes: names, aliases or groups; None for all that prediction and truth share.
        tolerance_mm: of the normalised surface distance, for all classes; None for `tolerances`.
        names: of the labels of label maps without names: a JSON file or "published"; see `naming.read_names`.
        bootstrap: how confidence intervals are made.
    """

    classes: tuple[str, ...] | None = None
    tolerance_mm: float | None = None
    names: str | Path | None = None
    bootstrap: Bootstrap = field(default_factory=Bootstrap)

    def __post_init__(self) -> None:
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(class_words(self.classes)))
        if self.tolerance_mm is not None and not 0 <= self.tolerance_mm < 1000:
            raise RequestError(
                f"Expected a tolerance from 0 to 1000 mm, found {self.tolerance_mm:g}.", about="tolerance"
            )
        if not 1 <= self.bootstrap.resamples <= 100_000:
            raise RequestError(
                f"Expected 1 to 100,000 resamples, found {self.bootstrap.resamples:,}.", about="resamples"
            )


@dataclass(frozen=True)
class CaseResult:
    """One case.

    Args:
        name: of the true case.
        predicted, truth: where its masks are.
        classes: one row per class that was compared.
    """

    name: str
    predicted: Path
    truth: Path
    classes: tuple[Agreement, ...]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Args:
        cases: in the order of their names.
        summaries: one per class.
        warnings: sentences about cases and classes that were left out.
        errors: sentences about cases that could not be compared.
        bootstrap: how the confidence intervals were made.
    """

    cases: tuple[CaseResult, ...]
    summaries: tuple[Summary, ...]
    warnings: tuple[str, ...]
    errors: tuple[str, ...]
    bootstrap: Bootstrap

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "cases": [
                {
                    "name": case.name,
                    "predicted": str(case.predicted),
                    "truth": str(case.truth),
                    "classes": [row.to_dict() for row in case.classes],
                }
                for case in self.cases
            ],
            "cohort": [summary.to_dict() for summary in self.summaries],
            "bootstrap": vars(self.bootstrap),
            "warnings": list(self.warnings),
            "errors": list(self.errors),
        }


def evaluate(predicted: Path, truth: Path, options: EvaluationOptions | None = None) -> Evaluation:
    """Compare masks with the truth. A case that cannot be compared costs no other, unless it is the only one.

    Args:
        predicted, truth: a file or folder each; see `cases.find_cases`.
        options: what to compare and how.

    Raises:
        RequestError: no pair of cases, or no class that both have.
        InputError: masks that cannot be read or lie on different grids.
    """
    options = options or EvaluationOptions()
    names = None if options.names is None else read_names(options.names)
    wanted = None if options.classes is None else requested_names(options.classes)
    pairs, lonely = match_cases(predicted, truth)
    warnings = [f"{sentence}: left out." for sentence in lonely]
    cases, gaps = [], dict[str, list[str]]()
    errors = []
    for ours, theirs in pairs:
        try:
            sides = Masks(ours, names), Masks(theirs, names)
            chosen, missing = _chosen(sides, wanted)
            rows = tuple(_rows(sides, chosen, options))
        except InputError as error:
            if len(pairs) == 1:
                raise
            errors.append(f"{theirs.name}: {error}")
            continue
        for sentence in missing:
            gaps.setdefault(sentence, []).append(theirs.name)
        cases.append(CaseResult(theirs.name, ours.path, theirs.path, rows))
    found = dict.fromkeys(row.name for case in cases for row in case.classes)
    if not found and errors:
        raise InputError(f"No case could be compared. {errors[0]}")
    if not found:
        raise RequestError(
            f"{predicted} and {truth} have no class in common{_asked(wanted)}: expected the "
            "same names of classes. Check the names.",
            about=("classes", "names"),
        )
    order = [name for name in wanted if name in found] if wanted else list(found)
    by_name = {name: [row for case in cases for row in case.classes if row.name == name] for name in order}
    warnings += [f"There is {sentence} in {_listed(where)}: left out." for sentence, where in gaps.items()]
    summaries = tuple(summarise(name, by_name[name], options.bootstrap) for name in order)
    return Evaluation(tuple(cases), summaries, tuple(warnings), tuple(errors), options.bootstrap)


def _asked(wanted: Sequence[str] | None) -> str:
    """What was asked for, for a message; empty where nothing was."""
    return f" that was asked for ({', '.join(wanted[:5])})" if wanted else ""


def _chosen(sides: tuple[Masks, Masks], wanted: tuple[str, ...] | None) -> tuple[list[str], list[str]]:
    """Classes to compare, in the truth's order or that of the request, and what is missing."""
    predicted, truth = (side.names for side in sides)
    names = wanted or truth
    chosen = [name for name in names if name in predicted and name in truth]
    sentences = []
    for side, where in ((predicted, "predicted"), (truth, "true")):
        missing = [name for name in names if name not in side and (wanted or name in truth)]
        if missing:
            sentences.append(f"no {where} mask of {', '.join(missing)}")
    return chosen, sentences


def _rows(sides: tuple[Masks, Masks], names: Sequence[str], options: EvaluationOptions) -> Iterator[Agreement]:
    for name in names:
        (predicted, grid), (truth, other) = (side.read(name) for side in sides)
        check_same_grid(grid, other, (sides[0].case.path, sides[1].case.path))
        tolerance = tolerance_mm(name) if options.tolerance_mm is None else options.tolerance_mm
        yield agreement(name, predicted, truth, other.affine, tolerance, lesions=is_lesion(name))


def _listed(cases: Sequence[str]) -> str:
    """Some names, and how many more."""
    more = f" and {len(cases) - _MOST_LISTED} more cases" if len(cases) > _MOST_LISTED else ""
    return f"{', '.join(cases[:_MOST_LISTED])}{more}"

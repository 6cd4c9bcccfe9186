"""`umlite eval`: masks against the truth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umlite import __version__
from umlite.commands.options import (
    EXPERT,
    HOW_MUCH,
    OUTPUT,
    WHAT,
    JsonOption,
    OverwriteOption,
    listed,
    output_option,
    path_argument,
    path_option,
)
from umlite.commands.reporting import BAD_INPUT, reported
from umlite.errors import OutputError, RequestError
from umlite.terminal import show, show_json, show_table, tell

if TYPE_CHECKING:
    from umlite.evaluation.cohort import Estimate, Summary
    from umlite.evaluation.evaluation import Evaluation


def evaluate(
    predicted: Annotated[Path, path_argument(metavar="PRED", help="Predicted masks: a file or a folder.")],
    truth: Annotated[Path, path_argument(metavar="TRUTH", help="True masks: a file or a folder.")],
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes", "-c", help="Names or groups with commas, or @FILE. Default: all in both.", rich_help_panel=WHAT
        ),
    ] = None,
    output: Annotated[
        Path | None,
        output_option(help="Folder for cases.csv, cohort.csv, evaluation.json."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page", help="HTML page with plots and tables, FILE.html.", rich_help_panel=OUTPUT, metavar="FILE"
        ),
    ] = None,
    names: Annotated[
        str | None,
        path_option(
            "--names",
            help='JSON file that names the labels of label maps, or "published".',
            rich_help_panel=WHAT,
            metavar="FILE",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Tolerance of the surface distance for all classes, mm. Default: one per class.",
            rich_help_panel=HOW_MUCH,
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(help="Resamples for confidence intervals.", rich_help_panel=EXPERT)] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.", rich_help_panel=EXPERT)] = 0,
) -> None:
    """Compare masks with the truth: Dice, surface distances, volumes, lesions; per case and cohort."""
    with reported(as_json):
        from umlite.evaluation.cohort import Bootstrap
        from umlite.evaluation.evaluation import EvaluationOptions
        from umlite.evaluation.evaluation import evaluate as compare
        from umlite.evaluation.files import FILES, write_evaluation, write_evaluation_page

        if output is not None:
            check_free([output / name for name in FILES], overwrite, "output")
        if page is not None:
            _check_page(page, overwrite)
        options = EvaluationOptions(listed(classes), tolerance, names, Bootstrap(resamples, seed))
        found = compare(predicted, truth, options)
        files = [] if output is None else write_evaluation(output, found, overwrite=overwrite)
        if page is not None:
            files.append(write_evaluation_page(page, found, overwrite=overwrite))
        code = BAD_INPUT if found.errors else 0
        for warning in found.warnings:
            tell(f"Warning: {warning}")
        for error in found.errors:
            tell(f"Error: {error}")
        if as_json:
            names_of_files = [str(file) for file in files]
            show_json({"umlite": __version__, **found.to_dict(), "files": names_of_files, "exit_code": code})
        else:
            _show(found)
            for place in filter(None, (output, page)):
                show(f"Written to {place}")
    if code:
        raise typer.Exit(code)


def _check_page(page: Path, overwrite: bool) -> None:
    if page.suffix.lower() != ".html":
        raise RequestError(f"{page} is no name of a page: expected one that ends in .html.", about="page")
    check_free([page], overwrite, "page")


def check_free(files: Sequence[Path], overwrite: bool, option: str) -> None:
    """Find out before the computation whether files may be written. Raises OutputError. option: that names them."""
    there = [file for file in files if os.path.lexists(file)]
    if there and not overwrite:
        raise OutputError(
            f"{there[0]} exists already. Choose another place, or allow replacing it.", about=("overwrite", option)
        )


def _show(found: Evaluation) -> None:
    rows = [
        (s.name, str(s.cases), _words(s.dice, 3), _words(s.nsd, 3), _words(s.hd95_mm, 1), _words(s.volume_error_ml, 1))
        for s in found.summaries
    ]
    columns = ("class", "cases", "Dice", "NSD", "HD95 (mm)", "volume error (ml)")
    show_table(columns, rows, right=(1, 2, 3, 4, 5), title=_title(found))
    lesions = [_lesion_row(s) for s in found.summaries if s.lesions is not None]
    if lesions:
        lesion_columns = ("lesions", "true", "found", "sensitivity", "false per scan", "patients found", "specificity")
        show_table(lesion_columns, lesions, right=(1, 2, 3, 4, 5, 6))


def _title(found: Evaluation) -> str:
    cases = len(found.cases)
    return found.cases[0].name if cases == 1 else f"{cases} cases, means with 95 % confidence intervals"


def _lesion_row(summary: Summary) -> tuple[str, ...]:
    lesions = summary.lesions
    assert lesions is not None
    estimates = (lesions.sensitivity, lesions.false_per_scan, summary.sensitivity, summary.specificity)
    return (summary.name, str(lesions.truth), str(lesions.found), *(_words(e, 2) for e in estimates))


def _words(estimate: Estimate, digits: int) -> str:
    """0.93 (0.91 to 0.95); a dash where there is no such number."""
    if estimate.value != estimate.value:
        return "-"
    value = f"{estimate.value:.{digits}f}"
    return (
        value if estimate.low != estimate.low else f"{value} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"
    )

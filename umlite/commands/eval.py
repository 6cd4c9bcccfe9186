"""`umlite eval`: masks against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umlite import __version__
from umlite.commands.options import (
    EXPERT,
    HOW_MUCH,
    OUTPUT,
    JsonOption,
    LabelNamesOption,
    MaskClassesOption,
    OverwriteOption,
    folder_option,
    listed,
    path_argument,
    path_option,
)
from umlite.commands.reporting import BAD_INPUT, reported
from umlite.errors import RequestError
from umlite.files import check_free
from umlite.terminal import show, show_json, show_table, tell

if TYPE_CHECKING:
    from umlite.evaluation.cohort import Summary
    from umlite.evaluation.evaluation import Evaluation


def evaluate(
    predicted: Annotated[Path, path_argument(metavar="PRED", help="Predicted masks: a file or a folder.")],
    truth: Annotated[Path, path_argument(metavar="TRUTH", help="True masks: a file or a folder.")],
    classes: MaskClassesOption = None,
    output: Annotated[
        Path | None,
        folder_option(help="Folder for cases.csv, cohort.csv, evaluation.json."),
    ] = None,
    page: Annotated[
        Path | None,
        path_option(
            "--page", help="HTML page with plots and tables, FILE.html.", rich_help_panel=OUTPUT, metavar="FILE"
        ),
    ] = None,
    names: LabelNamesOption = None,
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
            check_free([output / name for name in FILES], overwrite=overwrite)
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
    check_free([page], overwrite=overwrite, about="page")


def _show(found: Evaluation) -> None:
    rows = [
        (s.name, str(s.cases), s.dice.words(3), s.nsd.words(3), s.hd95_mm.words(1), s.volume_error_ml.words(1))
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
    return (summary.name, str(lesions.truth), str(lesions.found), *(e.words(2) for e in estimates))

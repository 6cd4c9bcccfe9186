"""`umlite compare`: two results of one patient."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from umlite import __version__
from umlite.commands.options import (
    WHAT,
    JsonOption,
    LabelNamesOption,
    MaskClassesOption,
    OverwriteOption,
    folder_option,
    listed,
    path_argument,
    path_option,
)
from umlite.commands.reporting import reported
from umlite.files import check_free
from umlite.terminal import show, show_json, show_table, tell

if TYPE_CHECKING:
    from umlite.comparison.comparison import Comparison


def compare(
    first: Annotated[Path, path_argument(metavar="A", help="The earlier result: a folder of masks or a label map.")],
    second: Annotated[Path, path_argument(metavar="B", help="The later result.")],
    classes: MaskClassesOption = None,
    output: Annotated[
        Path | None,
        folder_option(help="Folder for tables, JSON and a page."),
    ] = None,
    scan_a: Annotated[
        Path | None, path_option("--scan-a", help="Scan of A, for mean HU.", rich_help_panel=WHAT, metavar="FILE")
    ] = None,
    scan_b: Annotated[
        Path | None, path_option("--scan-b", help="Scan of B, for mean HU.", rich_help_panel=WHAT, metavar="FILE")
    ] = None,
    names: LabelNamesOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two results of one patient: organs side by side, lesions new, gone, growing, shrinking."""
    with reported(as_json):
        from umlite.comparison.comparison import ComparisonOptions
        from umlite.comparison.comparison import compare as compare_results
        from umlite.comparison.files import FILES, write_comparison

        if output is not None:
            check_free([output / name for name in FILES], overwrite=overwrite)
        found = compare_results(first, second, ComparisonOptions(listed(classes), names, (scan_a, scan_b)))
        files = [] if output is None else write_comparison(output, found, overwrite=overwrite)
        for warning in found.warnings:
            tell(f"Warning: {warning}")
        if as_json:
            show_json({"umlite": __version__, **found.to_dict(), "files": [str(f) for f in files], "exit_code": 0})
            return
        _show(found)
        if files:
            show(f"Written to {output}")


def _show(found: Comparison) -> None:
    from umlite.comparison import words

    show(words.alignment_sentence(found))
    if found.organs:
        show_table(words.ORGAN_COLUMNS, words.organ_rows(found), right=words.RIGHT["organs"])
    if found.changes:
        show_table(words.LESION_COLUMNS, words.lesion_rows(found), right=words.RIGHT["lesions"], whole=())
        show_table(words.SUM_COLUMNS, words.sum_rows(found), right=words.RIGHT["sums"])

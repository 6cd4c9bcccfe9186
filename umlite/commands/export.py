"""`umlite export`: a stored result in other formats."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path
from typing import Annotated

from umlite import __version__
from umlite.commands.options import (
    WHAT,
    JsonOption,
    LabelMapOption,
    OverwriteOption,
    QuietOption,
    output_option,
    path_argument,
    path_option,
    takes_options,
    with_label_map,
)
from umlite.commands.reporting import reported
from umlite.products.wanted import Wanted
from umlite.request import Request
from umlite.terminal import show, show_json, tell


@takes_options
def export(
    result: Annotated[Path, path_argument(metavar="RESULT", help="A NAME.umlite.nii.gz file.")],
    *,
    output: Annotated[
        Path | None,
        output_option(help="Folder of masks, or a file with the ending of its format."),
    ] = None,
    request: Annotated[Request, "classes"],
    wanted: Wanted,
    scan: Annotated[
        Path | None,
        path_option("--scan", help="The scan that was segmented, where HU or DICOM are needed.", rich_help_panel=WHAT),
    ] = None,
    label_map: LabelMapOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a stored result in other formats, without running again."""
    with reported(as_json):
        from umlite.batch.exporting import export as write

        wanted = with_label_map(wanted, label_map)
        outcome = write(result, output, wanted, classes=request.classes, scan=scan, overwrite=overwrite)
        assert outcome.finished is not None
        told = outcome.finished.result
        warnings = [*told.warnings, *outcome.remarks]
        for warning in warnings:
            tell(f"Warning: {warning}")
        if as_json:
            numbers = {"statistics": outcome.statistics.to_dict()} if outcome.statistics else {}
            files = [str(file) for file in outcome.files]
            shown = {**told.to_dict(), "warnings": warnings, **outcome.finished.checks, **numbers}
            manifest = {"manifest_file": outcome.manifest_file and str(outcome.manifest_file)}
            show_json({"umlite": __version__, **shown, "files": files, **manifest})
        elif not quiet:
            show(f"{_count(told.classes, 'class')} in {_count(outcome.files, 'file')}. Written to {outcome.job.output}")


def _count(things: Sized, word: str) -> str:
    plural = f"{word}es" if word.endswith("s") else f"{word}s"
    return f"{len(things)} {word if len(things) == 1 else plural}"

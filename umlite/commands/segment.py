"""`umlite segment`: scans in, masks out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umlite import __version__
from umlite.class_table import is_class_word
from umlite.commands.options import (
    HOW_MUCH,
    OUTPUT,
    SEVERAL,
    WHAT,
    JsonOption,
    LabelMapOption,
    OverwriteOption,
    PacksOption,
    QuietOption,
    WeightsOption,
    load,
    output_option,
    path_argument,
    path_option,
    takes_options,
    with_label_map,
)
from umlite.commands.reporting import SOME_FAILED, reported
from umlite.engines.options import EngineOptions
from umlite.errors import RequestError
from umlite.machine.imports import quick_imports
from umlite.machine.sizes import format_size
from umlite.products.wanted import Wanted
from umlite.request import Request
from umlite.terminal import show, show_json, tell

MOST_NAMED = 20
"""Scans that a dry run names on the terminal because they will fail."""

if TYPE_CHECKING:
    from umlite.api import Segmenter
    from umlite.batch.jobs import Job
    from umlite.batch.model import Model
    from umlite.batch.orders import Orders
    from umlite.commands.tally import Tally
    from umlite.cost.forecast import Forecast


@takes_options
def segment(
    *,
    scans: Annotated[
        list[Path] | None,
        path_argument(metavar="SCAN", help="Scans, folders, 'patterns', @LISTS, zips or files of DICOM, - for stdin."),
    ] = None,
    output: Annotated[
        Path | None,
        output_option(help="Folder of masks, FILE.nii.gz for a label map, FILE.dcm for DICOM-SEG."),
    ] = None,
    request: Request,
    options: EngineOptions,
    wanted: Wanted,
    weights: WeightsOption = None,
    packs: PacksOption = None,
    series: Annotated[
        str | None,
        typer.Option("--series", help="DICOM series: numbers, UIDs or all.", rich_help_panel=WHAT),
    ] = None,
    fill_gaps: Annotated[
        bool, typer.Option("--fill-gaps", help="Interpolate missing DICOM slices.", rich_help_panel=WHAT)
    ] = False,
    label_map: LabelMapOption = False,
    overwrite: OverwriteOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compute again what is done already.", rich_help_panel=OUTPUT)
    ] = False,
    verify_hashes: Annotated[
        bool,
        typer.Option("--verify-hashes", help="Read finished results to see if they changed.", rich_help_panel=OUTPUT),
    ] = False,
    dedupe: Annotated[
        bool,
        typer.Option("--dedupe", help="Compute scans with the same content once.", rich_help_panel=SEVERAL),
    ] = False,
    jobs: Annotated[
        Path | None,
        path_option("--jobs", help="CSV or JSON lines: scan, output, classes, ...", rich_help_panel=SEVERAL),
    ] = None,
    jsonl: Annotated[
        str | None,
        typer.Option(
            "--jsonl",
            metavar="FILE",
            help="Write a JSON line per scan as it ends; - for stdout.",
            rich_help_panel=SEVERAL,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, help="Processes, which share cores, memory and GPUs.", rich_help_panel=SEVERAL
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Only part I of N, all about as long.", rich_help_panel=SEVERAL),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Compute on a Ray cluster, or auto.", rich_help_panel=SEVERAL),
    ] = None,
    scan_timeout: Annotated[
        float | None,
        typer.Option(
            "--scan-timeout",
            min=1.0,
            metavar="SECONDS",
            help="Give up a scan that takes longer.",
            rich_help_panel=SEVERAL,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would run, and predict its cost.", rich_help_panel=HOW_MUCH)
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Segment CT scans, with masks on each scan's own grid."""
    tally: Tally | None = None
    with reported(as_json, lambda: {} if tally is None else tally.scans()):
        with quick_imports():
            from umlite.batch.batch import Batch, part_of, shard_of
            from umlite.batch.crew import CrewOptions
            from umlite.batch.model import Model
            from umlite.batch.orders import Orders
            from umlite.commands.live import shown
            from umlite.commands.scans import Given, jobs_of
            from umlite.commands.tally import FAILED, Tally
            from umlite.weights.packs import pack_paths

        if as_json and jsonl == "-":
            raise RequestError("One JSON object and JSON lines cannot share stdout: choose one of them.", about="jsonl")
        _check_no_class(scans or [], request)
        request = wanted.request(request)
        wanted = with_label_map(wanted, label_map)
        todo = jobs_of(Given(scans or [], jobs, output, series, fill_gaps), request, wanted)
        wanted = replace(wanted, format=todo[0].format)
        loading = partial(load, weights, output=todo[0].place.home, packs=packs)
        model = Model(weights, options, partial(loading, options), packs=pack_paths(packs))
        if shard is not None:
            todo = part_of(todo, shard_of(shard), partial(_windows, model, request))
        orders = Orders(request, wanted, overwrite, force, verify_hashes, dedupe)
        if dry_run:
            raise typer.Exit(_show_plan(model, orders, todo, as_json))
        silent = quiet or as_json or jsonl == "-"
        failed = None
        if output is not None and (len(todo) > 1 or jobs is not None or shard is not None):
            failed = output / (FAILED if shard is None else f"failed_{shard.replace('/', '_of_')}.jsonl")
        crew = CrewOptions(workers or 1, scan_timeout) if workers or scan_timeout else None
        tally = Tally(len(todo), request, silent=silent, keep=as_json, jsonl=jsonl, failed=failed)
        with closing(tally), shown(tally) as watcher:
            outcomes = Batch(model, orders, loading, forecast_for, crew, ray).run(todo, watcher)
            with closing(outcomes):  # an interruption waits for the scan that is being written
                for one in outcomes:
                    tally.add(one)
        if as_json:
            show_json({"umlite": __version__, **model.engine, **tally.engine, **tally.scans(), "exit_code": tally.code})
        elif len(todo) > 1 and not silent:
            show(tally.summary())
    if tally is not None and tally.code:
        raise typer.Exit(tally.code)


def forecast_for(options: EngineOptions, segmenter: Segmenter) -> Forecast:
    """What predicts each scan's cost."""
    from umlite.cost.forecast import Forecast
    from umlite.cost.limits import Limits

    return Forecast(segmenter, None, Limits.of(options), tell)


def _show_plan(model: Model, orders: Orders, jobs: Sequence[Job], as_json: bool) -> int:
    """Show what a run would do and cost: of one scan in detail, of several together. Returns the exit code."""
    if len(jobs) == 1:
        from umlite.commands.plan import show_plan

        return show_plan(model.segmenter, jobs[0].series or jobs[0].scan, orders.request, as_json=as_json)
    from umlite.batch.foresight import foresee
    from umlite.cost.measuring import calibration_of

    found = foresee(model, orders, jobs, partial(_windows, model, orders.request), partial(calibration_of, tell=tell))
    code = SOME_FAILED if found.unreadable else 0
    if as_json:
        show_json({**found.to_dict(), "exit_code": code})
        return code
    for one in found.bad[:MOST_NAMED]:
        tell(f"Error: {one.error if one.error.startswith(one.scan) else f'{one.scan}: {one.error}'}")
    if found.unreadable > MOST_NAMED:
        tell(f"{found.unreadable - MOST_NAMED} more scans will fail; the JSON of this names more of them.")
    bad = f", {found.unreadable} will fail" if found.unreadable else ""
    copies = f", {found.duplicates} copies of others" if found.duplicates else ""
    show(f"{found.scans} scans: {found.skipped} done before, {found.run} to run{copies}{bad}.")
    if found.run:
        hours = f"{found.seconds / 3600:.1f} hours" if found.seconds >= 3600 else f"{found.seconds / 60:.1f} minutes"
        show(
            f"About {hours}, {found.output_bytes / 1e6:,.0f} MB of masks, {format_size(found.most_bytes)} of memory at "
            f"most. Predicted from the headers of all, and the voxels of {found.sampled}."
        )
    return code


def _windows(model: Model, request: Request, job: Job) -> float:
    """Windows of a job by its header; 0 where none can be read."""
    from umlite.cost.outlook import outlook, windows_of

    shapes = outlook(job.series or job.scan, model.card)
    return 0.0 if shapes is None else windows_of(shapes, (job.request or request).overlap)


def _check_no_class(scans: list[Path], request: Request) -> None:
    """Raise RequestError for `-c liver spleen`, which would leave the spleen out: there it is a scan."""
    for scan in scans if request.classes else ():
        if not os.path.lexists(scan) and is_class_word(str(scan)):
            joined = ",".join([*(request.classes or ()), str(scan)])
            raise RequestError(
                f"{scan} is a class, and there is no file of that name. Join classes with commas: {joined}.",
                about="classes",
            )

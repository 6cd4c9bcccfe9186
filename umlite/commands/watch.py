"""`umlite watch`: scans that arrive in a folder are segmented."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umlite.commands.options import (
    PacksOption,
    QuietOption,
    WeightsOption,
    folder_option,
    load,
    path_argument,
    path_option,
    takes_options,
)
from umlite.commands.reporting import SOME_FAILED, reported
from umlite.commands.segment import forecast_for
from umlite.engines.options import EngineOptions
from umlite.errors import InputError, RequestError
from umlite.products.wanted import Wanted
from umlite.request import Request
from umlite.terminal import show, tell, window_bars

if TYPE_CHECKING:
    from umlite.batch.batch import Batch
    from umlite.batch.inbox import Inbox
    from umlite.batch.jobs import Job
    from umlite.batch.run import Watcher
    from umlite.batch.told import Told
    from umlite.commands.tally import Tally


@takes_options
def watch(
    inbox: Annotated[Path, path_argument(metavar="INBOX", help="Folder that scans, folders and zips of DICOM reach.")],
    output: Annotated[Path, folder_option(help="Folder for a result per scan.")],
    request: Request,
    options: EngineOptions,
    wanted: Wanted,
    weights: WeightsOption = None,
    packs: PacksOption = None,
    still: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="Time without a change after which a scan is complete.")
    ] = 10.0,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Time between two looks into the folder.")
    ] = 5.0,
    attempts: Annotated[int, typer.Option(min=1, help="Tries of a bad scan before it is put aside.")] = 3,
    quarantine: Annotated[
        Path | None, path_option(help="Folder for bad scans. Default: quarantine, in the output.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left to do.")] = False,
    jsonl: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a JSON line per scan as it ends; - for stdout.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Segment scans that arrive in INBOX, until interrupted. Results that are there already are not made again."""
    with reported(False):
        from umlite.batch.batch import Batch
        from umlite.batch.inbox import Inbox, InboxOptions
        from umlite.batch.model import Model
        from umlite.batch.orders import Orders
        from umlite.batch.run import Watcher
        from umlite.commands.tally import Tally
        from umlite.products.choice import products_of
        from umlite.products.formats import format_of
        from umlite.weights.packs import pack_paths

        if output.resolve() == inbox.resolve():
            raise RequestError(f"Results cannot go to {inbox} itself: name another folder.", about="output")
        if not inbox.is_dir():
            raise InputError(
                f"Expected a folder to watch, found {'a file' if inbox.exists() else 'nothing'} at {inbox}."
            )
        request = wanted.request(request)
        chosen = format_of(None, wanted.format, wanted.layout)
        products_of(wanted, chosen, probabilities=request.probabilities, scans=2)  # one file would be for one scan
        wanted = replace(wanted, format=chosen.name)
        loading = partial(load, weights, output=output, packs=packs)
        model = Model(weights, options, partial(loading, options), packs=pack_paths(packs))
        model.classes.resolve(request.classes)
        batch = Batch(model, Orders(request, wanted), loading, forecast_for)
        found = Inbox(InboxOptions(inbox, output, quarantine or output / "quarantine", still, attempts))
        silent = quiet or jsonl == "-"
        tally = Tally(0, request, silent=silent, keep=False, jsonl=jsonl, failed=None)
        with closing(tally), window_bars(silent) as progress_of:
            while True:
                ready = found.ready()
                if once and not found.is_waiting:
                    break
                if ready:
                    _run(batch, found, ready, tally, Watcher(progress_of, tell))
                else:
                    time.sleep(every)
        if not silent:
            show(f"{tally.done} scans segmented, {tally.skipped} done before, {tally.failed} times one failed.")
    if tally.failed:
        raise typer.Exit(SOME_FAILED)


def _run(batch: Batch, inbox: Inbox, ready: Sequence[Path], tally: Tally, watcher: Watcher) -> None:
    """Segment what is ready, and note how each file or folder went."""
    from umlite.commands.scans import jobs_in

    options, wanted = inbox.options, batch.orders.wanted
    jobs = jobs_in(options.folder, ready, options.output, wanted)
    failed: dict[Path, list[Told]] = {path: [] for path in ready}
    if jobs:
        with closing(batch.run(jobs, watcher)) as outcomes:
            for told in outcomes:
                tally.add(told)
                if told.error is not None:
                    failed[_unit_of(told.job, ready)].append(told)
    for path, errors in failed.items():
        if sentence := inbox.settle(path, errors):
            tell(f"Warning: {sentence}")


def _unit_of(job: Job, ready: Sequence[Path]) -> Path:
    source = job.scan if job.series is None else job.series.path
    return next(path for path in ready if path == source or path in source.parents)

"""`umlite plan`: what a scan will cost, before anything of it is computed."""

from __future__ import annotations

from typing import Annotated

import typer

from umlite.commands.options import (
    ClassesOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    KernelsOption,
    OverlapOption,
    ScanArgument,
    ThreadsOption,
    WeightsOption,
    load,
)
from umlite.commands.reporting import reported
from umlite.errors import RequestError
from umlite.terminal import show, show_json, show_table, tell

GB = 1e9


def plan(
    scan: ScanArgument,
    classes: ClassesOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "fast",
    kernels: KernelsOption = "auto",
    threads: ThreadsOption = None,
    overlap: OverlapOption = 0.5,
    max_ram: Annotated[float | None, typer.Option(help="Gigabytes to stay under.")] = None,
    recalibrate: Annotated[bool, typer.Option(help="Measure this machine again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Predict windows, seconds, memory and output of a scan. The first time on a machine, a short calibration runs."""
    with reported(as_json):
        from umlite.measurement.calibration import calibrate, remember, remembered
        from umlite.measurement.prediction import classes_that_fit, predict
        from umlite.volume.reading import read_scan

        if max_ram is not None and not max_ram > 0:
            raise RequestError(f"Expected --max-ram of more than 0 GB, found {max_ram:g}.")
        segmenter = load(weights, device, engine, kernels, threads)
        names = [c.name for c in segmenter.check_request(classes, overlap)]
        read = read_scan(scan)
        calibration = None if recalibrate else remembered(segmenter)
        if calibration is None:
            tell("Calibrating: a few windows of noise. This is remembered for these weights on this machine.")
            calibration = calibrate(segmenter)
            remember(segmenter, calibration)
        volume = segmenter.prepare(read)
        cost = predict(segmenter, calibration, read, volume, names, overlap)
        fits = fitting = None
        if max_ram is not None:
            fits = cost.peak_bytes <= max_ram * GB
            frame, window = volume.frame, segmenter.manifest.window
            fitting = classes_that_fit(
                int(max_ram * GB),
                calibration.process_bytes,
                read.shape,
                frame.model.shape,
                frame.shape,
                window,
                len(names),
            )
        if as_json:
            limit = {} if max_ram is None else {"max_ram_gb": max_ram, "fits": fits, "classes_that_fit": fitting}
            show_json({"scan": str(scan), "classes": names, **cost.to_dict(), **limit})
        else:
            reused = cost.windows - cost.windows_run
            rows = [
                ("windows", f"{cost.windows_run}" + (f", and {reused} constant ones reused" if reused else "")),
                ("time", f"{cost.seconds:.1f} s, {cost.steps['windows']:.1f} s of it windows"),
                ("memory", f"{cost.peak_bytes / GB:.2f} GB at most"),
                ("output", f"about {cost.output_bytes / 1e6:.1f} MB in {len(names)} masks"),
            ]
            show_table(("", ""), rows)
            if max_ram is not None and not fits:
                over = cost.peak_bytes / GB - max_ram
                advice = (
                    f"{fitting} classes at a time fit, asked for with --classes." if fitting else "No class alone fits."
                )
                show(f"That is {over:.2f} GB more than {max_ram:g} GB. {advice}")
        if fits is False:
            raise typer.Exit(2)

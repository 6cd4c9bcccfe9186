"""What the GPU benchmark finds out, a part a function, most important first. Each yields rows as it goes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bench.gpu_cases import cases
from bench.gpu_checks import check_kernel, check_window, oracle
from bench.gpu_floors import Ceilings, kernel_floor, measure_ceilings, window_floor
from bench.gpu_session import Session
from bench.gpu_worker import Earlier, Row, guarded
from umlite.checks.benchmark import benchmark_scan
from umlite.checks.reference_pipeline import ReferencePipeline
from umlite.machine.description import describe_machine
from umlite.weights.loading import read_card

PACKAGES = (
    *("torch", "triton", "numpy", "nibabel", "safetensors", "connected-components-3d", "typer", "rich", "pillow"),
    *("certifi", "platformdirs", "monai", "einops"),
)
ASKED_OF_DRIVER = "name,driver_version,memory.total,clocks.max.sm,clocks.sm,power.limit,temperature.gpu"
PHANTOM_SEED = 1_000_002
REQUESTS = (None, "liver,pancreas")


def environment(session: Session, earlier: Earlier) -> Iterator[Row]:  # noqa: ARG001
    """Machine, GPU, driver, and the packages that are there or not."""
    row: Row = {**describe_machine(), "gpu": session.gpu.name, "target": session.gpu.target}
    row |= {"cuda": torch.version.cuda, "hip": torch.version.hip, "peaks_known": session.gpu.peaks is not None}
    if session.gpu.device.type == "cuda":
        row |= {
            "cudnn": torch.backends.cudnn.version(),
            "properties": str(torch.cuda.get_device_properties(session.gpu.device)),
        }
        row = guarded(row, _driver)
    yield {**row, "packages": {name: _version(name) for name in PACKAGES}}


def kernels(session: Session, earlier: Earlier) -> Iterator[Row]:
    """Every kernel against its reference, then against itself."""
    done = len(earlier.get("kernels", []))
    for case in itertools.islice(cases(session.gpu.device, session.side), done, None):
        start = time.perf_counter()
        row: Row = check_kernel(case).to_dict()
        yield {**row, "seconds_with_compilation": time.perf_counter() - start}
        torch.ones(1, device=session.gpu.device).item()  # a GPU that has faulted answers no more: raise here


def windows(session: Session, earlier: Earlier) -> Iterator[Row]:  # noqa: ARG001
    """Windows of each network against the reference engine on the CPU."""
    for name, weights in session.weights.items():
        classes, expected = range(len(read_card(weights).classes)), None
        for precision in session.precisions(name):
            engine = session.engine(weights, precision)
            x = session.window(engine)
            expected = oracle(weights, x, classes) if expected is None else expected
            for check in check_window(engine, expected, x, classes):
                yield {"network": name, "precision": precision, **check.to_dict()}
            del engine


def kernel_times(session: Session, earlier: Earlier) -> Iterator[Row]:
    """The ceilings of this GPU, then each kernel's time beside the least that they allow."""
    done = len(earlier.get("kernel_times", []))
    ceilings = Ceilings.of(earlier)
    if ceilings is None:
        ceilings = measure_ceilings(session.gpu, rehearse=session.asked.rehearse)
        yield {"kernel": "ceilings", **dataclasses.asdict(ceilings)}
        done = 1
    wrong = {row.get("name") for row in earlier.get("kernels", []) if not row.get("passed")}
    for case in itertools.islice(cases(session.gpu.device, session.side), done - 1, None):

        def measure(case: Any = case) -> Row:
            with torch.inference_mode():
                seconds = session.gpu.median_seconds(case.launch, session.asked.repeats)
            floor, limit = kernel_floor(case, ceilings, session.gpu)
            rates = {"gb_s": case.bytes / seconds / 1e9, "tflop_s": case.flop / seconds / 1e12}
            return {"seconds": seconds, "floor": floor, "limit": limit, "times_floor": seconds / floor, **rates}

        yield guarded({"kernel": case.name, "passed": case.name not in wrong}, measure)


def window_times(session: Session, earlier: Earlier) -> Iterator[Row]:
    """Windows a second: ours, and the reference network eager, with autocast, and compiled with autocast."""
    ceilings = Ceilings.of(earlier)
    for name, weights in session.weights.items():
        engine = session.engine(weights)
        floor = guarded({}, lambda engine=engine: window_floor(engine.card, ceilings, session.gpu))
        for count in (1, 2 if session.asked.rehearse else 4):
            row: Row = {"network": name, "way": "umlite", "batch": count, **floor}
            yield guarded(row, functools.partial(_ours, session, engine, count))
    for name, weights in session.weights.items():  # compilation takes longest, so it comes after everything else
        yield from _reference_times(session, name, weights, ("eager", "autocast"))
    for name, weights in session.weights.items():
        yield from _reference_times(session, name, weights, ("compile + autocast",))


def scans(session: Session, earlier: Earlier) -> Iterator[Row]:  # noqa: ARG001
    """Whole scans from file to files, all classes and two."""
    scan = session.asked.scan or _phantom(session)
    for name, weights in session.weights.items():
        for request in REQUESTS:
            run = functools.partial(_scan, session, weights, scan, request)
            yield guarded({"network": name, "classes": request or "all"}, run)
    for name, weights in session.weights.items():
        run = functools.partial(_scan_beside, session, weights, scan)
        yield guarded({"network": name, "classes": "all", "side": "reference"}, run)


def memory(session: Session, earlier: Earlier) -> Iterator[Row]:  # noqa: ARG001
    """Seconds and peak memory by the number of windows at a time."""
    for name, weights in session.weights.items():
        engine = session.engine(weights, batch=16)
        for count in (1, 2) if session.asked.rehearse else (1, 2, 4, 8, 16):
            yield guarded({"network": name, "batch": count}, functools.partial(_ours, session, engine, count, True))
        del engine


def profile(session: Session, earlier: Earlier) -> Iterator[Row]:
    """The kernels of the slowest window, by the time that they take."""
    ours = [row for row in earlier.get("window_times", []) if row["way"] == "umlite" and "seconds" in row]
    slowest = max(ours, key=lambda row: row["seconds"])["network"] if ours else next(iter(session.weights))
    engine = session.engine(session.weights[slowest])
    add, gpu = _adder(session, engine, 1), session.gpu
    gpu.seconds(add, 2)
    on_gpu = gpu.device.type == "cuda"
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, *[activity.CUDA] * on_gpu]) as found:
        add()
        if on_gpu:
            torch.cuda.synchronize(gpu.device)
    own = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    events = sorted(found.key_averages(), key=lambda event: -getattr(event, own))
    total = sum(getattr(event, own) for event in events) or 1.0
    for event in events[:40]:
        took = getattr(event, own)
        yield {
            "network": slowest,
            "kernel": event.key[:120],
            "calls": event.count,
            "microseconds": took,
            "share": took / total,
        }


def _ours(session: Session, engine: Any, count: int, with_memory: bool = False) -> Row:
    add = _adder(session, engine, count)
    seconds = session.gpu.median_seconds(add, session.asked.repeats) / count
    row: Row = {"seconds": seconds, "windows_s": 1 / seconds, "precision": str(engine.dtype)}
    return {**row, "peak_gb": session.gpu.peak_bytes(add) / 1e9} if with_memory else row


def _adder(session: Session, engine: Any, count: int) -> Any:
    """A call that takes `count` windows from the volume into the sums of all classes."""
    volume = session.window(engine)[0, 0].contiguous()
    classes = range(len(engine.card.classes))
    sums = torch.zeros(len(classes), *volume.shape, device=session.gpu.device)
    return lambda: engine.add_windows(volume, [(0, 0, 0)] * count, classes, sums, (0, 0, 0))


def _reference_times(session: Session, name: str, weights: Path, ways: tuple[str, ...]) -> Iterator[Row]:
    engine_card = read_card(weights)
    try:
        network = session.reference(weights)
    except Exception as error:
        yield {"network": name, "way": "reference", "skipped": str(error)}
        return
    x = torch.rand(1, 1, *engine_card.window, device=session.gpu.device)
    for way in ways:
        run = session.compiled(network) if way.startswith("compile") else network

        def measure(run: Any = run, way: str = way) -> Row:
            on_gpu = session.gpu.device.type == "cuda"  # a CPU would emulate 16 bits, many times slower
            half = torch.autocast("cuda", torch.float16) if on_gpu and "autocast" in way else contextlib.nullcontext()
            start = time.perf_counter()
            with torch.inference_mode(), half:
                run(x)
                first = time.perf_counter() - start
                seconds = session.gpu.median_seconds(lambda: run(x), session.asked.repeats)
            return {"seconds": seconds, "windows_s": 1 / seconds, "first_call_s": first}

        yield guarded({"network": name, "way": way, "batch": 1}, measure)


def _scan(session: Session, weights: Path, scan: Path, request: str | None) -> Row:
    repeats = 1 if session.asked.rehearse else 3
    return benchmark_scan(lambda: session.segmenter(weights), scan, request, repeats=repeats).to_dict()


def _scan_beside(session: Session, weights: Path, scan: Path) -> Row:
    """The reference pipeline, two of its windows and one of its files; the rest is extrapolated."""
    try:
        reference = ReferencePipeline(weights, str(session.gpu.device))
    except Exception as error:
        return {"skipped": str(error)}
    return benchmark_scan(
        lambda: session.segmenter(weights), scan, repeats=1, reference=reference, reference_windows=2, reference_files=1
    ).to_dict()


def _phantom(session: Session) -> Path:
    """A synthetic scan: made once, then kept beside the weights."""
    import nibabel as nib

    from umlite.phantom import make_phantom

    spacing = 6.0 if session.asked.rehearse else 1.5
    path = next(iter(session.weights.values())).with_name(f"phantom_{spacing:g}.nii.gz")
    if not path.exists():
        nib.save(make_phantom(PHANTOM_SEED, (spacing, spacing, 2 * spacing)).image(), path)
    return path


def _driver() -> Row:
    command = ["nvidia-smi", f"--query-gpu={ASKED_OF_DRIVER}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return {"driver": done.stdout.strip()}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

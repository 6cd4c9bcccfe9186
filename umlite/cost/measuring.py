"""Calibration: a short run on synthetic scans that measures what each step costs on this machine."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from umlite.api import Segmenter
from umlite.cost.calibration import Calibration, remember, remembered
from umlite.cost.memory import RunShapes, SumsLayout, added_bytes, step_bytes, vram_bytes
from umlite.machine.memory import peak_bytes, start_peak
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import ResampledMasks
from umlite.masks.postprocessing import postprocess
from umlite.outputs.file_set import together
from umlite.outputs.temporary import temporary_folder
from umlite.results.segmentation import Segmentation
from umlite.results.statistics import statistics as measure_statistics
from umlite.results.writing import write_masks
from umlite.sweep.runner import WindowCounts
from umlite.volume.reading import Scan, read_scan

SECONDS = 4.0
"""Time to spend on windows, with at least one run of each kind."""
MOST_RUNS = 7
PLAIN, DENSE = 0.5, 0.875
"""Overlaps that give two and five windows over the same voxels."""
SIDE = 220
"""Side of the scans for the other steps, in voxels: large enough that their memory is fresh, as for real scans."""
FINER = (2.0, 1.1)
"""How much finer than the model's grid the two scans for preparation are."""
RADIUS = 0.12
"""Radius of a synthetic organ as a share of the scan's side: it lies in a quarter of the planes."""


def calibration_of(segmenter: Segmenter, *, again: bool = False, tell: Callable[[str], None]) -> Calibration:
    """The calibration of a segmenter on this machine: the kept one, or a new one that is then kept.

    Args:
        segmenter: what to calibrate.
        again: measure even if a calibration is kept.
        tell: gets a sentence before measuring.
    """
    known = None if again else remembered(segmenter)
    if known is None:
        tell("Calibrating with a few windows of noise, once for these weights on this machine.")
        known = calibrate(segmenter)
        remember(segmenter, known)
    return known


def calibrate(segmenter: Segmenter) -> Calibration:
    """Measure every step. This takes about as long as five windows, and at least four seconds."""
    with temporary_folder("umlite-calibration-") as folder:
        found: dict[str, Any] = {**vars(_windows(segmenter)), **_surroundings(segmenter, folder)}
    return Calibration(**found)


@dataclass(frozen=True)
class _Windows:
    window_s: float
    class_s: float
    decide_s: float
    process_bytes: int
    class_bytes: int
    device_bytes: int


def _windows(segmenter: Segmenter) -> _Windows:
    """Costs of windows: from two windows of one class, two of all classes, and five of all over the same voxels."""
    window, spacing, names = segmenter.card.window, segmenter.card.spacing_mm, segmenter.classes.names
    scan = read_scan(_noise((window[0] + window[0] // 2, *window[1:]), spacing), force_geometry=True)
    shapes, count = RunShapes.of(scan, segmenter.prepare(scan).volume, window), len(names)
    device = segmenter.setup.device
    layout = SumsLayout(on_host=device.type == "cpu")
    runs = ((1, PLAIN), (count, PLAIN), (count, DENSE))
    seconds: dict[tuple[int, float], list[float]] = {run: [] for run in runs}
    ran: dict[float, int] = {}
    held: dict[int, int] = {}
    gpu = 0
    begin = time.perf_counter()
    segmenter.segment(scan, names[:1])
    for turn in range(MOST_RUNS):
        for run in runs:
            asked, overlap = run
            start_peak()
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            result = segmenter.segment(scan, names[:asked], overlap=overlap)
            # Freed pieces of earlier runs stay with the process: the first run shows what one alone takes.
            held.setdefault(asked, peak_bytes() - max(step_bytes(shapes, asked, layout).values()))
            seconds[run].append(result.timings["windows"])
            ran[overlap] = result.windows.total
            if device.type == "cuda":
                gpu = max(gpu, torch.cuda.max_memory_allocated(device) - vram_bytes(0, shapes, asked)[0])
        if time.perf_counter() - begin > SECONDS * (turn + 1) / (turn + 2):
            break
    one, every, dense = (statistics.median(seconds[run]) for run in runs)
    voxels, others = math.prod(shapes.volume), max(count - 1, 1)
    each_window = max(dense - every, 0.0) / (ran[DENSE] - ran[PLAIN])
    decide = max(every - each_window * ran[PLAIN], 0.0) / voxels / count
    single = max(one - decide * voxels, 0.0) / ran[PLAIN]
    each_class = max(each_window - single, 0.0) / others
    head = segmenter.card.network.head  # what packs take is known, so that a calibration serves with and without them
    copies = added_bytes(head, head.added) - added_bytes(head, 0)
    each_bytes = max(held[count] - held[1] - copies, 0) // others
    process_bytes = held[1] - each_bytes - added_bytes(head, 0)
    return _Windows(max(single - each_class, 0.0), each_class, decide, process_bytes, each_bytes, gpu)


def _surroundings(segmenter: Segmenter, folder: Path) -> dict[str, float]:
    """Seconds of all that is not the windows', by the names of Calibration's fields."""
    spacing = segmenter.card.spacing_mm
    names = segmenter.classes.names
    shape = (SIDE, SIDE, SIDE)
    fine, near = (tuple(mm / finer for mm in spacing) for finer in FINER)
    noise = _noise(shape, fine)
    flat = nib.Nifti1Image(np.zeros(shape, np.int16), noise.affine)
    files = {name: folder / f"{name}.nii.gz" for name in ("noise", "flat")}
    nib.save(noise, files["noise"])
    nib.save(flat, files["flat"])
    read = {name: _seconds(lambda path=path: read_scan(path, force_geometry=True)) for name, path in files.items()}  # type: ignore[misc]
    sizes = {name: path.stat().st_size for name, path in files.items()}
    byte = max(read["noise"] - read["flat"], 0.0) / (sizes["noise"] - sizes["flat"])
    scan = read_scan(files["noise"], force_geometry=True)
    voxels = math.prod(scan.shape)
    prepared = _seconds(lambda: segmenter.prepare(scan))
    closer = read_scan(_noise(shape, near), force_geometry=True)
    prepared_closer = _seconds(lambda: segmenter.prepare(closer))
    volume, volume_closer = segmenter.prepare(scan).volume, segmenter.prepare(closer).volume
    more = volume_closer.voxels.numel() - volume.voxels.numel()
    model = max(prepared_closer - prepared, 0.0) / more
    organs = _organs(volume.voxels.shape, names)
    cleaned = _seconds(lambda: postprocess(organs, names))
    on_scan = ResampledMasks(organs, volume.frame)
    restored = _seconds(lambda: deque(on_scan.slabs(), maxlen=0))
    tiny = read_scan(_noise((4, 4, 4), fine), force_geometry=True)
    blank = BitMask.zeros(tiny.shape, names)
    write_tiny = _seconds(lambda: _write(folder / "files", names, [blank], tiny))
    write = _seconds(lambda: _write(folder / "files", names, on_scan.slabs(), scan))
    result = Segmentation(scan, tuple(segmenter.classes), on_scan, WindowCounts(0, 0, 0), {}, (), (), segmenter.card)
    counted = _seconds(lambda: measure_statistics(result))
    return {
        "read_voxel_s": max(read["flat"] - byte * sizes["flat"], 0.0) / voxels,
        "read_byte_s": byte,
        "prepare_scan_s": max(prepared - model * volume.voxels.numel(), 0.0) / voxels,
        "prepare_model_s": model,
        "postprocess_s": cleaned / volume.voxels.numel() / len(names),
        "statistics_s": counted / voxels,
        "restore_s": restored / voxels,
        "write_voxel_s": max(write - restored - write_tiny, 0.0) / voxels / len(names),
        "write_file_s": write_tiny / len(names),
    }


def _write(folder: Path, names: tuple[str, ...], slabs: Iterable[BitMask], scan: Scan) -> None:
    with together(folder) as files:
        write_masks(files, folder, {name: name for name in names}, slabs, scan)


def _seconds(work: Callable[[], object]) -> float:
    """Seconds of a second call, since the first one also loads what it needs."""
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _noise(shape: tuple[int, ...], spacing: tuple[float, ...]) -> nib.Nifti1Image:
    """A noisy scan of soft tissue, of which nothing is cropped."""
    some = np.random.default_rng(0).normal(40, 25, 1_000_003).clip(-170, 240).astype(np.int16)
    return nib.Nifti1Image(np.resize(some, math.prod(shape)).reshape(shape, order="F"), np.diag([*spacing, 1.0]))


def _organs(shape: tuple[int, ...], names: tuple[str, ...]) -> BitMask:
    """Masks with one ball per class at random places."""
    bits = BitMask.zeros(shape, names)
    places = np.random.default_rng(0).uniform(RADIUS, 1 - RADIUS, (len(names), 3))
    axes = [(np.arange(n) + 0.5) / n for n in shape]
    for name, place in zip(names, places, strict=True):
        x, y, z = ((axis - middle) ** 2 for axis, middle in zip(axes, place, strict=True))
        bits.set_mask(name, x[:, None, None] + y[:, None] + z < RADIUS**2)
    return bits

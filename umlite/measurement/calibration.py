"""What the steps of a run take on this machine, from a short run on a made-up scan; remembered in the cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

import umlite
from umlite.api import Segmenter
from umlite.cpu.cache import cache_folder
from umlite.errors import OutputError
from umlite.files import file_sha256, make_folder, replacing
from umlite.measurement.machine import processor_name
from umlite.measurement.peak_memory import peak_bytes, start_peak

FORMAT = 1


@dataclass(frozen=True)
class Calibration:
    """Seconds of each step by its unit of work, and the memory of the process with its network.

    window_s + class_s * classes: a window. read_s, prepare_s, restore_s: a voxel of the scan. postprocess_s: a voxel
    of the model's volume and class. write_s: a voxel of the scan and class. process_bytes: resident with the network
    and what a window needs, without any scan.
    """

    window_s: float
    class_s: float
    read_s: float
    prepare_s: float
    postprocess_s: float
    restore_s: float
    write_s: float
    process_bytes: int


def calibrate(segmenter: Segmenter) -> Calibration:
    """Segment a small scan of noise: once unmeasured, for one class, for all. Takes the time of five windows or so."""
    window, spacing = segmenter.manifest.window, segmenter.manifest.spacing_mm
    names = segmenter.classes.names
    with tempfile.TemporaryDirectory(prefix="umlite-calibration-") as folder:
        small, large = (Path(folder) / name for name in ("one.nii.gz", "two.nii.gz"))
        _write_noise(small, window, spacing)
        _write_noise(large, (window[0] + window[0] // 2, *window[1:]), spacing)
        start_peak()
        segmenter.segment(small, names[:1])
        one = segmenter.segment(large, names[:1])
        process = peak_bytes()
        every = segmenter.segment(large, list(names))
        start = time.perf_counter()
        every.save(Path(folder) / "masks")
        write = time.perf_counter() - start
    voxels, count, asked = every.bits.bits.size, every.windows.total, len(names)
    first, whole = one.timings["windows"] / count, every.timings["windows"] / count
    each = max(whole - first, 0.0) / max(asked - 1, 1)
    return Calibration(
        window_s=max(first - each, 0.0),
        class_s=each,
        read_s=every.timings["read"] / voxels,
        prepare_s=every.timings["prepare"] / voxels,
        postprocess_s=every.timings["postprocess"] / voxels / asked,
        restore_s=every.timings["restore"] / voxels,
        write_s=write / voxels / asked,
        process_bytes=process,
    )


def remembered(segmenter: Segmenter) -> Calibration | None:
    """The calibration of these weights with this plan on this machine, or None."""
    try:
        stored = json.loads(_file(segmenter).read_text())
        return Calibration(**stored)
    except (OSError, ValueError, TypeError):
        return None


def remember(segmenter: Segmenter, calibration: Calibration) -> None:
    """Keep a calibration for the next time; nothing is kept where the cache folder cannot be written."""
    path = _file(segmenter)
    with contextlib.suppress(OutputError):
        make_folder(path.parent)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(calibration)))


def _file(segmenter: Segmenter) -> Path:
    """Named after everything that changes the numbers."""
    plan = segmenter.plan
    facts = [FORMAT, umlite.__version__, processor_name(), file_sha256(segmenter.weights_path), plan.engine]
    facts += [str(plan.device), plan.kernels, plan.precision, plan.batch, plan.threads, plan.compile]
    return cache_folder() / "calibration" / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]}.json"


def _write_noise(path: Path, shape: tuple[int, ...], spacing: tuple[float, float, float]) -> None:
    """A scan of soft tissue with noise at the model's spacing, so that its volume has the same shape."""
    hu = np.random.default_rng(0).normal(40, 60, shape).clip(-170, 240).astype(np.int16)
    nib.save(nib.Nifti1Image(hu, np.diag([*spacing, 1.0])), path)

"""How long each step of a run takes on this machine with certain weights, kept in the cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import umlite
from umlite.api import Segmenter
from umlite.errors import OutputError, RequestError
from umlite.files import kept_sha256, make_folder, read_json
from umlite.machine.cache_folder import cache_folder
from umlite.machine.processor import processor_name
from umlite.outputs.file_set import replacing
from umlite.records import from_fields

FORMAT = 5


@dataclass(frozen=True)
class Calibration:
    """Seconds per unit of work of each step, and the memory of the process with its network.

    Args:
        window_s: per window; each class takes `class_s` more.
        class_s: per window and class.
        decide_s: per voxel of the model's volume and class.
        read_voxel_s: reading, per voxel of the scan.
        read_byte_s: reading, per byte of the file.
        prepare_scan_s: preparing, per voxel of the scan.
        prepare_model_s: preparing, per voxel of the model's grid.
        postprocess_s: per voxel of the model's volume and class.
        statistics_s: per voxel of the scan, for checks and statistics of all classes.
        restore_s: writing, per voxel of the scan.
        write_voxel_s: writing, per voxel of the scan and class.
        write_file_s: writing, per file.
        process_bytes: resident memory with the network and a window, without a scan.
        class_bytes: further resident memory for each class.
        device_bytes: GPU memory of network and windows with all classes; 0 on a CPU.
    """

    window_s: float
    class_s: float
    decide_s: float
    read_voxel_s: float
    read_byte_s: float
    prepare_scan_s: float
    prepare_model_s: float
    postprocess_s: float
    statistics_s: float
    restore_s: float
    write_voxel_s: float
    write_file_s: float
    process_bytes: int
    class_bytes: int
    device_bytes: int


def remembered(segmenter: Segmenter) -> Calibration | None:
    """The kept calibration of these weights with this setup on this machine, or None."""
    try:
        if not _folder().is_dir():
            return None  # saves reading the weights for their hash
        kept = from_fields(Calibration, read_json(_file(segmenter)), "calibration")
    except (OSError, ValueError, TypeError, RequestError):
        return None
    return kept if all(math.isfinite(number) and number >= 0 for number in vars(kept).values()) else None


def remember(segmenter: Segmenter, calibration: Calibration) -> None:
    """Keep a calibration for later runs. If the cache folder cannot be written, nothing is kept."""
    with contextlib.suppress(OSError, OutputError):
        path = _file(segmenter)
        make_folder(path.parent)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(calibration)))


def _folder() -> Path:
    return cache_folder() / "calibration"


def _file(segmenter: Segmenter) -> Path:
    """The file of a calibration, named after everything that its numbers depend on."""
    setup = segmenter.setup
    options = replace(setup.options, max_ram=None, max_vram=None)  # limits decide whether a scan runs, not how fast
    facts = [FORMAT, umlite.__version__, processor_name(), kept_sha256(segmenter.weights_path)]
    facts += [options.to_dict(), setup.weight_limit_bytes]
    return _folder() / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]}.json"

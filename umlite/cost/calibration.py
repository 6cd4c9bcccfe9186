"""What the steps of a run take on this machine with some weights, remembered in the cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import umlite
from umlite.api import Segmenter
from umlite.errors import OutputError
from umlite.files import file_sha256, make_folder, replacing
from umlite.machine.cache_folder import cache_folder
from umlite.machine.processor import processor_name

FORMAT = 4


@dataclass(frozen=True)
class Calibration:
    """Seconds of each step by its units of work, and the memory of the process with its network.

    window_s + class_s * classes: a window. decide_s: a voxel of the model's volume and class.
    read_voxel_s, read_byte_s: a voxel of the scan, a byte of its file. prepare_scan_s, prepare_model_s: a voxel of the
    scan, of the model's grid. postprocess_s: a voxel of the model's volume and class. restore_s, write_voxel_s,
    write_file_s: of writing, a voxel of the scan, a voxel of the scan and class, a file.
    process_bytes, class_bytes: resident with the network and what a window needs, without any scan; further, for each
    class. device_bytes: of a GPU's memory, likewise, for all classes; 0 on a CPU.
    """

    window_s: float
    class_s: float
    decide_s: float
    read_voxel_s: float
    read_byte_s: float
    prepare_scan_s: float
    prepare_model_s: float
    postprocess_s: float
    restore_s: float
    write_voxel_s: float
    write_file_s: float
    process_bytes: int
    class_bytes: int
    device_bytes: int


def remembered(segmenter: Segmenter) -> Calibration | None:
    """The calibration of these weights with this setup on this machine, or None."""
    if not _folder().is_dir():
        return None  # spares reading the weights for their hash
    try:
        return Calibration(**json.loads(_file(segmenter).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def remember(segmenter: Segmenter, calibration: Calibration) -> None:
    """Keep a calibration for the next time; nothing is kept where the cache folder cannot be written."""
    path = _file(segmenter)
    with contextlib.suppress(OutputError):
        make_folder(path.parent)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(calibration)))


def _folder() -> Path:
    return cache_folder() / "calibration"


def _file(segmenter: Segmenter) -> Path:
    """Named after everything that changes the numbers."""
    setup = segmenter.setup
    options = replace(setup.options, max_ram=None, max_vram=None)  # limits decide whether a scan runs, not how fast
    facts = [FORMAT, umlite.__version__, processor_name(), file_sha256(segmenter.weights_path)]
    facts += [options.to_dict(), setup.weight_limit_bytes]
    return _folder() / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]}.json"

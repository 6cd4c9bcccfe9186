"""The one path from a scan to masks, which the command line, batches, tests and benchmarks share."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from umlite.classes import AnatomyClass, ClassTable
from umlite.errors import DeviceError, RequestError
from umlite.inference.adaptive import decide_adaptively
from umlite.inference.bitmask import MAX_CLASSES, BitMask
from umlite.inference.blending import Progress, no_progress
from umlite.inference.engine import build_engine
from umlite.inference.plan import Notify, Plan, choose_plan
from umlite.inference.postprocessing import needed_classes, postprocess
from umlite.inference.sweep import blended_logits, decide_volume
from umlite.inference.window_runner import WindowCounts
from umlite.inference.windows import check_overlap
from umlite.results.label_map import paint_label_map
from umlite.volume.preparation import Volume, prepare_volume, restore
from umlite.volume.reading import Scan, read_scan
from umlite.volume.writing import is_label_map, write_label_map, write_masks
from umlite.weights.manifest import Manifest
from umlite.weights.store import resolve

if TYPE_CHECKING:
    from nibabel.spatialimages import SpatialImage
    from torch import Tensor

Request = str | Iterable[str] | None
WINDOWS = ("all", "adaptive")


class Segmenter:
    """A loaded model on a device. Load once, segment many scans.

    weights: an installed name, a .safetensors file, or None where exactly one is installed.
    device: "auto" (CUDA when there is one, else the CPU) or any torch device; never replaced by another silently.
    engine: "fast", or "reference", the plain one that the fast one is tested against.
    compile: torch.compile the network (fast engine). batch: windows at a time.
    kernels: of the fast engine: "native" (compiled C on a CPU, Triton on a GPU), "torch", or "auto", which takes torch
    where there are no native ones; `plan.reasons` says so. threads: of a CPU; OMP_NUM_THREADS or all cores by default.
    notify: gets one sentence where loading takes longer than usual (kernels are compiled once on a machine).
    Raises WeightsError, DeviceError or RequestError.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        engine: str = "fast",
        *,
        compile: bool = False,
        batch: int | None = None,
        kernels: str = "auto",
        threads: int | None = None,
        notify: Notify | None = None,
    ) -> None:
        options = {"kernels": kernels, "threads": threads, "notify": notify}
        plan = choose_plan(engine, device, compile=compile, batch=batch, **options)  # type: ignore[arg-type]
        self.weights_path: Path = resolve(weights)
        self._engine = build_engine(self.weights_path, plan, notify)
        self.classes = ClassTable(self.manifest.classes)

    @property
    def manifest(self) -> Manifest:
        """Architecture, classes, spacing, window and origin of the weights."""
        return self._engine.manifest

    @property
    def plan(self) -> Plan:
        """Device, kernels, batch and threads, with the reasons."""
        return self._engine.plan

    def window_logits(self, x: Tensor, classes: Request = None) -> Tensor:
        """Logits of single windows, each on its own.

        x: [N, 1, D, H, W] float32 in [0, 1]. Returns [N, classes, D, H, W] float32, classes in the order asked for.
        Raises RequestError on another shape or an unknown class.
        """
        multiple = self.manifest.network.backbone.window_multiple
        wrong_side = any(side < multiple or side % multiple for side in x.shape[2:])
        if x.ndim != 5 or not len(x) or x.shape[1] != 1 or wrong_side or math.prod(x.shape[2:]) == multiple**3:
            raise RequestError(
                f"Expected windows [N, 1, D, H, W] with sides that are multiples of {multiple}, not all {multiple}, "
                f"found {list(x.shape)}."
            )
        return self._engine.window_logits(x, self._places(self.classes.resolve(classes)))

    def prepare(self, scan: str | os.PathLike[str] | SpatialImage | Scan) -> Volume:
        """What the network sees of a scan: RAS, at the model's spacing, in [0, 1], cropped to the foreground."""
        scan = scan if isinstance(scan, Scan) else read_scan(scan)
        return prepare_volume(scan, self.manifest.spacing_mm, self.manifest.hu_range)

    def blended_logits(
        self, volume: Volume, classes: Request = None, *, overlap: float = 0.5, progress: Progress = no_progress
    ) -> Tensor:
        """Logits of a whole volume [classes, X, Y, Z] float32, blended over windows, before any post-processing."""
        places = self._places(self.classes.resolve(classes))
        return blended_logits(self._engine, volume.voxels, places, overlap, progress)

    def segment(
        self,
        scan: str | os.PathLike[str] | SpatialImage | Scan,
        classes: Request = None,
        *,
        overlap: float = 0.5,
        windows: str = "all",
        progress: Progress = no_progress,
    ) -> Segmentation:
        """Masks of the requested classes on the scan's own grid, post-processed.

        scan: path of a NIfTI file, a nibabel image, or a Scan. classes: names, aliases, groups or published numbers
        ("liver,tumors" or a list); all by default. overlap: of neighbouring windows, 0 to under 1.
        windows: "all", or "adaptive", which leaves out windows where none of the classes (nor the organs that their
        post-processing reads) could be, see `umlite.inference.adaptive`.
        progress: called with windows done and windows in all.
        Raises InputError, RequestError, DeviceError or WeightsError.
        """
        wanted = self.check_request(classes, overlap)
        if windows not in WINDOWS:
            raise RequestError(f"Unknown windows {windows!r}: expected {' or '.join(WINDOWS)}.")
        requested = tuple(c.name for c in wanted)
        names = needed_classes(requested, self.classes.names)
        watch = _Stopwatch()
        with watch("read"):
            scan = scan if isinstance(scan, Scan) else read_scan(scan)
        with watch("prepare"):
            volume = self.prepare(scan)
        with watch("windows"), _memory_errors(len(names)):
            places = [self.classes.place(n) for n in names]
            undecided = 0
            if windows == "all":
                bits, counts = decide_volume(self._engine, volume.voxels, places, names, overlap, progress)
            else:
                bits, counts, undecided = decide_adaptively(
                    self._engine, volume.voxels, places, names, overlap, progress
                )
        with watch("postprocess"):
            bits, notes = postprocess(bits, requested)
        with watch("restore"):
            bits = BitMask(restore(bits.bits, volume.frame), bits.names)
        warnings = scan.warnings
        if volume.is_empty:
            warnings += (f"Nothing in it lies above {self.manifest.hu_range[0]:g} HU: all masks are empty.",)
        if self.manifest.notice:
            warnings += (self.manifest.notice,)
        return Segmentation(scan, wanted, bits, counts, watch.seconds, warnings, notes, self.manifest, undecided)

    def check_request(self, classes: Request = None, overlap: float = 0.5) -> tuple[AnatomyClass, ...]:
        """The classes that `segment` would give. Raises RequestError when it could not."""
        wanted = self.classes.resolve(classes)
        check_overlap(overlap)
        needed = needed_classes([c.name for c in wanted], self.classes.names)
        if len(needed) > MAX_CLASSES:
            raise RequestError(
                f"{len(wanted)} classes were asked for ({len(needed)} with the hosts they need), and at most "
                f"{MAX_CLASSES} fit one run. Ask for some of them with --classes, then for the others."
            )
        return wanted

    def _places(self, classes: Iterable[AnatomyClass]) -> list[int]:
        return [self.classes.place(c.name) for c in classes]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Masks of one scan on its own grid.

    classes: in the order asked for. bits: a bit per class and voxel. windows: how many ran, were reused, and exist.
    timings: seconds of read, prepare, windows, postprocess and restore.
    warnings: what is suspicious about the scan or the weights. notes: what post-processing could not apply and why.
    manifest: of the weights used.
    undecided_voxels: voxels of the model's grid whose answer could differ with all windows; 0 unless adaptive.
    """

    scan: Scan
    classes: tuple[AnatomyClass, ...]
    bits: BitMask
    windows: WindowCounts
    timings: dict[str, float]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    manifest: Manifest
    undecided_voxels: int = 0

    def mask(self, name: str) -> np.ndarray:
        """Bool [X, Y, Z] on the scan's grid; `name` as in a request. Raises RequestError when it was not asked for."""
        found = ClassTable(self.manifest.classes).resolve([name])
        if len(found) != 1:
            raise RequestError(f"{name!r} stands for {len(found)} classes: expected one.")
        return self.bits.mask(found[0].name)

    @property
    def affine(self) -> np.ndarray:
        """The scan's, float64 [4, 4], voxel index -> RAS mm."""
        return self.scan.affine

    @functools.cached_property
    def voxels(self) -> dict[str, int]:
        """Voxels of each class."""
        return self.bits.counts()

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume of each class."""
        return {name: count * self.scan.voxel_volume_ml for name, count in self.voxels.items()}

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> list[Path]:
        """Write a label map where `path` ends in .nii or .nii.gz, else a folder of masks. Returns the files."""
        path = Path(path)
        save = self.save_label_map if is_label_map(path) else self.save_masks
        return save(path, overwrite=overwrite)

    def save_masks(self, folder: Path, *, overwrite: bool = True) -> list[Path]:
        """Write one uint8 mask per class, folder/<class>.nii.gz, all or none. Raises OutputError."""
        masks = ((c.name, self.bits.mask(c.name)) for c in self.classes)
        return write_masks(folder, masks, self.scan, overwrite=overwrite)

    def save_label_map(self, path: Path, *, overwrite: bool = True) -> list[Path]:
        """Write published indices, tumours over organs, with the names inside the file. Raises OutputError."""
        names = {c.index: (c.name, c.color) for c in self.classes}
        labels = paint_label_map(self.bits, self.classes)
        return [write_label_map(path, labels, names, self.scan, overwrite=overwrite)]

    def to_dict(self) -> dict[str, Any]:
        """What is known of the result, ready for JSON."""
        volumes = self.volumes_ml
        return {
            "scan": str(self.scan.path) if self.scan.path else self.scan.name,
            "weights": self.manifest.name,
            "classes": [
                {
                    "name": c.name,
                    "index": c.index,
                    "voxels": self.voxels[c.name],
                    "volume_ml": round(volumes[c.name], 3),
                }
                for c in self.classes
            ],
            "windows": asdict(self.windows),
            "undecided_voxels": self.undecided_voxels,
            "timings_s": {step: round(seconds, 3) for step, seconds in self.timings.items()},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "notice": self.manifest.notice,
        }


@contextmanager
def _memory_errors(classes: int) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"The device has too little memory for {classes} classes of this scan. Ask for fewer at a time with "
            "--classes, for a smaller --batch, or for --device cpu."
        ) from error


class _Stopwatch:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - start

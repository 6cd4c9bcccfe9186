"""The one path from a scan to masks, which the command line, batches, tests and benchmarks share."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from umlite.classes import AnatomyClass, ClassTable
from umlite.engines.engine import build_engine
from umlite.engines.setup import Notify, Plan, choose_plan
from umlite.errors import DeviceError, RequestError
from umlite.masks.bitmask import MAX_CLASSES
from umlite.masks.on_scan import MasksOnScan
from umlite.masks.postprocessing import needed_classes, postprocess
from umlite.progress import Progress, no_progress
from umlite.results.probabilities import Probabilities
from umlite.results.segmentation import Segmentation
from umlite.sweep.adaptive.decide import decide_adaptively
from umlite.sweep.probability_file import ProbabilityFile
from umlite.sweep.sweep import blended_logits, decide_volume
from umlite.volume.preparation import Volume
from umlite.volume.reading import Scan, read_scan
from umlite.weights.model_card import ModelCard
from umlite.weights.store import resolve
from umlite.windows import check_overlap

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
    where there are no native ones; `plan.reasons` says so. precision: of a GPU's backbone, "float32", "float16",
    "bfloat16" or "auto". threads: of a CPU; OMP_NUM_THREADS or all cores by default. max_vram: bytes of a GPU's memory
    to stay under. max_ram: bytes of memory for the whole run: the compiled C kernels then keep smaller weights, which
    are slower, until the network takes no more than half. Whether a scan fits is for `umlite plan` to say.
    notify: gets one sentence where loading takes longer than usual (kernels are compiled once on a machine).
    Any number of threads may call one Segmenter: every answer is the one that it gives alone. Compiled kernels compute
    for one caller at a time, so more threads gain no speed. A forked process goes on with one thread, and its first
    scan takes longer; processes started by spawn or forkserver make a Segmenter of their own.
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
        precision: str = "auto",
        threads: int | None = None,
        max_vram: int | None = None,
        max_ram: int | None = None,
        notify: Notify | None = None,
    ) -> None:
        options: dict[str, Any] = {"kernels": kernels, "precision": precision, "threads": threads, "notify": notify}
        plan = choose_plan(engine, device, compile=compile, batch=batch, max_vram=max_vram, max_ram=max_ram, **options)
        self.weights_path: Path = resolve(weights)
        self._engine = build_engine(self.weights_path, plan, notify)
        self.classes = ClassTable(self.card.classes)

    @property
    def card(self) -> ModelCard:
        """Architecture, classes, spacing, window and origin of the weights."""
        return self._engine.card

    @property
    def plan(self) -> Plan:
        """Device, kernels, batch and threads, with the reasons."""
        return self._engine.plan

    def layers(self) -> list[dict[str, str]]:
        """How each convolution of a window runs on a CPU's native kernels, a row of words per layer; else empty."""
        return self._engine.layers()

    def window_logits(self, x: Tensor, classes: Request = None) -> Tensor:
        """Logits of single windows, each on its own.

        x: [N, 1, D, H, W] float32 in [0, 1]. Returns [N, classes, D, H, W] float32, classes in the order asked for.
        Raises RequestError on another shape or an unknown class.
        """
        multiple = self.card.network.backbone.window_multiple
        wrong_side = any(side < multiple or side % multiple for side in x.shape[2:])
        if x.ndim != 5 or not len(x) or x.shape[1] != 1 or wrong_side or math.prod(x.shape[2:]) == multiple**3:
            raise RequestError(
                f"Expected windows [N, 1, D, H, W] with sides that are multiples of {multiple}, not all {multiple}, "
                f"found {list(x.shape)}."
            )
        return self._engine.window_logits(x, self._places(self.classes.resolve(classes)))

    def prepare(self, scan: str | os.PathLike[str] | SpatialImage | Scan) -> Volume:
        """What the network sees of a scan: RAS, at the model's spacing, in [0, 1], cropped to the foreground.

        Its voxels are on the device, or on the host where the device does not resample; the plan's reasons say which.
        """
        return self._engine.prepare(scan if isinstance(scan, Scan) else read_scan(scan))

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
        probabilities: str | os.PathLike[str] | None = None,
        progress: Progress = no_progress,
        inspect: Callable[[Scan, Volume], None] | None = None,
    ) -> Segmentation:
        """Masks of the requested classes on the scan's own grid, post-processed.

        scan: path of a NIfTI file, a nibabel image, or a Scan. classes: names, aliases, groups or published numbers
        ("liver,tumors" or a list); all by default. overlap: of neighbouring windows, 0 to under 1.
        windows: "all", or "adaptive", which leaves out windows where none of the classes (nor the organs that their
        post-processing reads) could be, see `umlite.sweep.adaptive.decide`.
        probabilities: a folder; the result then has probabilities too, before any post-processing, which wait there in
        a temporary file of a byte per voxel of the model's grid and class.
        progress: called with windows done and windows in all.
        inspect: called with the scan and its prepared volume before any window; what it raises ends the run.
        Raises InputError, RequestError, DeviceError, WeightsError or OutputError.
        """
        wanted = self.check_request(classes, overlap, windows)
        requested = tuple(c.name for c in wanted)
        names = needed_classes(requested, self.classes.names)
        watch = _Stopwatch()
        with watch("read"):
            scan = scan if isinstance(scan, Scan) else read_scan(scan)
        with watch("prepare"):
            volume = self.prepare(scan)
        if inspect is not None:
            inspect(scan, volume)
        frame, is_empty = volume.frame, volume.is_empty
        soft = ProbabilityFile(Path(probabilities), names) if probabilities is not None else None
        with watch("windows"), _memory_errors(len(names)):
            places = [self.classes.head_of(n) for n in names]
            run = functools.partial(decide_volume if windows == "all" else decide_adaptively, self._engine)
            bits, counts, undecided = run(volume.voxels, places, names, overlap, progress, soft)
        del volume
        with watch("postprocess"):
            bits, notes = postprocess(bits, requested)
        warnings = scan.warnings
        if is_empty:
            warnings += (f"Nothing in it lies above {self.card.hu_range[0]:g} HU: all masks are empty.",)
        if self.card.notice:
            warnings += (self.card.notice,)
        probability = None if soft is None else Probabilities(soft, frame)
        masks = MasksOnScan(bits, frame)
        return Segmentation(
            scan, wanted, masks, counts, watch.seconds, warnings, notes, self.card, undecided, probability
        )

    def check_request(
        self, classes: Request = None, overlap: float = 0.5, windows: str = "all"
    ) -> tuple[AnatomyClass, ...]:
        """The classes that `segment` would give. Raises RequestError when it could not."""
        wanted = self.classes.resolve(classes)
        check_overlap(overlap)
        if windows not in WINDOWS:
            raise RequestError(f"Unknown windows {windows!r}: expected {' or '.join(WINDOWS)}.")
        needed = needed_classes([c.name for c in wanted], self.classes.names)
        if len(needed) > MAX_CLASSES:
            raise RequestError(
                f"{len(wanted)} classes were asked for ({len(needed)} with the hosts they need), and at most "
                f"{MAX_CLASSES} fit one run. Ask for some of them with --classes, then for the others."
            )
        return wanted

    def _places(self, classes: Iterable[AnatomyClass]) -> list[int]:
        return [self.classes.head_of(c.name) for c in classes]


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

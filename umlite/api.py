"""From a scan to masks: Segmenter, whose steps can also be called one by one (prepare, decide, finish)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umlite.class_table import ClassTable
from umlite.classes import AnatomyClass
from umlite.dicom.reading import read_source
from umlite.engines.build import build_engine
from umlite.engines.options import EngineOptions
from umlite.engines.setup import Setup, choose_setup
from umlite.errors import RequestError
from umlite.files import expanded
from umlite.machine.memory import memory_errors
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import ResampledMasks
from umlite.masks.postprocessing import needed_classes, postprocess
from umlite.progress import Notify, Progress, Stopwatch, no_notice, no_progress, once
from umlite.records import changed
from umlite.request import Classes, Request
from umlite.results.details import details_of, kept_shares
from umlite.results.probabilities import Probabilities
from umlite.results.segmentation import Segmentation
from umlite.sweep.adaptive.decide import decide_adaptively
from umlite.sweep.lesion_logits import LesionLogits
from umlite.sweep.parts import decide_in_parts
from umlite.sweep.probability_file import ProbabilityFile
from umlite.sweep.runner import WindowCounts
from umlite.sweep.sweep import blended_logits, decide_volume
from umlite.volume.preparation import Frame, Volume
from umlite.volume.reading import Scan
from umlite.weights.model_card import ModelCard
from umlite.weights.store import resolve

if TYPE_CHECKING:
    from nibabel.spatialimages import SpatialImage
    from torch import Tensor

    from umlite.dicom.series import Series


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan as the network sees it: read, resampled, scaled and cropped.

    Args:
        scan: the scan itself.
        volume: RAS, at the model's spacing, in [0, 1], cropped to the foreground. Its voxels are on the device, or on
            the host if the device does not resample; the setup's reasons say which.
        timings: seconds of the steps "read" and "prepare".
    """

    scan: Scan
    volume: Volume
    timings: dict[str, float]


@dataclass(frozen=True, eq=False)
class Decided:
    """The predicted masks of a scan on the model's grid, before post-processing.

    Args:
        scan: the scan itself.
        frame: the way back to its grid.
        classes: requested classes.
        bits: masks of the requested classes and of the organs that their post-processing reads.
        windows: how many windows ran, were reused, and exist.
        undecided_voxels: voxels whose result could differ with all windows; 0 unless adaptive.
        probabilities: a file with them; None unless they were requested.
        timings: seconds of the steps "read", "prepare" and "windows".
        lesion_logits: logits of the requested lesions; None unless details were requested.
        notes: sentences on how they were computed.
    """

    scan: Scan
    frame: Frame
    classes: tuple[AnatomyClass, ...]
    bits: BitMask
    windows: WindowCounts
    undecided_voxels: int
    probabilities: ProbabilityFile | None
    timings: dict[str, float]
    lesion_logits: LesionLogits | None = None
    notes: tuple[str, ...] = ()


class Segmenter:
    """A loaded model on a device. Load once, segment many scans.

    `segment` does everything. Its steps can also be called one by one: `prepare` reads and resamples a scan, `decide`
    runs the windows, `finish` cleans the masks. That way the next scan can be read, and the last one written, while
    windows run.

    Any number of threads may call one Segmenter, and every result is the same as without them. Compiled kernels compute
    for one caller at a time, so more threads gain no speed. A forked process continues with one thread, and its first
    scan takes longer; processes started by spawn or forkserver make a Segmenter of their own.

    Args:
        weights: an installed name, a .safetensors file, or None if exactly one is installed.
        options: how to compute; see `EngineOptions`.
        packs: files of classes that are added to the network; see `umlite.weights.packs`.
        notify: gets a sentence if loading takes long (kernels are compiled once per machine), and whenever something is
            done differently than planned.
        **changes: fields of `EngineOptions` by name, as in `Segmenter(weights, device="cpu", threads=2)`.

    Raises:
        WeightsError: weights that are missing or damaged, or a file of another kind.
        DeviceError: a device, compiler or kernel that was asked for and is missing.
        RequestError: options that are unknown or contradict each other.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        options: EngineOptions | None = None,
        *,
        packs: Iterable[str | os.PathLike[str]] = (),
        notify: Notify = no_notice,
        **changes: Any,
    ) -> None:
        notify = once(notify)
        setup = choose_setup(changed(options or EngineOptions(), changes), notify)
        self.weights_path: Path = resolve(weights)
        self.packs = tuple(expanded(pack) for pack in packs)
        with memory_errors("for the network"):
            self.engine = build_engine(self.weights_path, setup, notify, self.packs)
        self.classes = ClassTable(self.card.classes)

    @property
    def card(self) -> ModelCard:
        """Description of the weights: architecture, classes, spacing, window and origin."""
        return self.engine.card

    @property
    def setup(self) -> Setup:
        """Device, kernels, batch and threads, with a reason for each."""
        return self.engine.setup

    def layers(self) -> list[dict[str, str]]:
        """How each convolution of a window runs on a CPU's native kernels, one row of words per layer; else empty."""
        return self.engine.layers()

    def window_logits(self, x: Tensor, classes: Classes = None) -> Tensor:
        """Logits of single windows, each computed on its own.

        Args:
            x: [N, 1, D, H, W] float32 in [0, 1].
            classes: names, aliases, groups or published numbers; None for all.

        Returns:
            [N, classes, D, H, W] float32, classes in the requested order.

        Raises:
            RequestError: a wrong shape or an unknown class.
        """
        multiple = self.card.network.backbone.window_multiple
        wrong_side = any(side < multiple or side % multiple for side in x.shape[2:])
        if x.ndim != 5 or not len(x) or x.shape[1] != 1 or wrong_side or math.prod(x.shape[2:]) == multiple**3:
            raise RequestError(
                f"Expected windows [N, 1, D, H, W] with sides that are multiples of {multiple}, not all {multiple}, "
                f"found {list(x.shape)}."
            )
        return self.engine.window_logits(x, self._heads(self.classes.resolve(classes)))

    def blended_logits(
        self, volume: Volume, classes: Classes = None, *, overlap: float = 0.5, progress: Progress = no_progress
    ) -> Tensor:
        """Logits of a whole volume, blended over windows, before post-processing.

        Args:
            volume: a prepared volume.
            classes: names, aliases, groups or published numbers; None for all.
            overlap: of neighbouring windows, 0 <= overlap < 1.
            progress: called with the number of windows done and the number of all windows.

        Returns:
            [classes, X, Y, Z] float32, classes in the requested order.

        Raises:
            RequestError: an unknown class or an overlap out of range.
            DeviceError: the logits do not fit in memory.
        """
        return blended_logits(self.engine, volume.voxels, self._heads(self.classes.resolve(classes)), overlap, progress)

    def segment(
        self,
        scan: str | os.PathLike[str] | SpatialImage | Scan | Series,
        request: Request | Classes = None,
        *,
        progress: Progress = no_progress,
        folder: str | os.PathLike[str] | None = None,
        **changes: Any,
    ) -> Segmentation:
        """Segment a scan: post-processed masks of the requested classes on the scan's own grid.

        Args:
            scan: path of a NIfTI file or of DICOM, a nibabel image, a series, or a Scan.
            request: classes ("liver,tumors", a list, None for all) or a whole `Request`.
            progress: called with the number of windows done and the number of all windows.
            folder: holds a temporary file for probabilities, one byte per class and voxel of the model's grid; the
                system's temporary folder by default.
            **changes: fields of `Request` by name, as in `segment(scan, "liver", overlap=0.75)`.

        Returns:
            The result, with masks on the scan's grid.

        Raises:
            InputError: the scan cannot be read or used.
            RequestError: an unknown class or an option out of range.
            DeviceError: the device has too little memory.
            WeightsError: the network gave a number that is not finite.
            OutputError: there is no room for probabilities.
        """
        asked = Request.of(request, **changes)
        self.check_request(asked)
        prepared = self.prepare(scan, force_geometry=asked.force_geometry)
        decided = self.decide(prepared, asked, progress=progress, folder=folder)
        del prepared  # the volume need not be in memory while masks are cleaned
        return self.finish(decided)

    def prepare(
        self, scan: str | os.PathLike[str] | SpatialImage | Scan | Series, *, force_geometry: bool = False
    ) -> Prepared:
        """Read a scan, unless it is a Scan already, and turn it into what the network sees.

        Args:
            scan: path of a NIfTI file or of DICOM, a nibabel image, a series, or a Scan.
            force_geometry: read a scan whose size in mm no body has, with a warning instead of the error.

        Raises:
            InputError: the scan cannot be read or used.
        """
        watch = Stopwatch()
        with watch("read"), memory_errors("to read this scan"):
            scan = scan if isinstance(scan, Scan) else read_source(scan, force_geometry=force_geometry)
        with watch("prepare"), memory_errors("to resample this scan"):
            volume = self.engine.prepare(scan)
        return Prepared(scan, volume, watch.seconds)

    def decide(
        self,
        prepared: Prepared,
        request: Request | Classes = None,
        *,
        progress: Progress = no_progress,
        folder: str | os.PathLike[str] | None = None,
        parts: int = 1,
    ) -> Decided:
        """Run the windows of a prepared scan.

        Args:
            prepared: the scan.
            request, progress, folder: see `segment`.
            parts: how many the classes are divided into, to be computed one after the other. That takes less memory for
                the same masks, and `parts` times as long; not for adaptive windows or probabilities.

        Raises:
            RequestError, DeviceError, WeightsError, OutputError: see `segment`.
        """
        asked = Request.of(request)
        if parts > 1 and not asked.can_be_parted:
            raise RequestError("Adaptive windows and probabilities need all classes at once: leave the parts out.")
        wanted = self.check_request(asked)
        names = self.needed_names(wanted, details=asked.details)
        soft = ProbabilityFile(None if folder is None else Path(folder), names) if asked.keeps_probabilities else None
        logits = LesionLogits([c.name for c in wanted if c.kind == "tumor"]) if asked.details else None
        run = decide_volume if asked.windows == "all" else decide_adaptively
        notes = (f"Memory was short: the classes were computed in {parts} parts.",) if parts > 1 else ()
        watch = Stopwatch()
        with watch("windows"), memory_errors(f"for {len(names)} classes of this scan"):
            heads = [self.classes.head_of(name) for name in names]
            given = (self.engine, prepared.volume.voxels, heads, names, asked.overlap, progress)
            if parts > 1:
                bits, counts, undecided = *decide_in_parts(parts, *given, logits), 0
            else:
                bits, counts, undecided = run(*given, soft, logits)
        timings = prepared.timings | watch.seconds
        return Decided(
            prepared.scan, prepared.volume.frame, wanted, bits, counts, undecided, soft, timings, logits, notes
        )

    def finish(self, decided: Decided) -> Segmentation:
        """Post-process the masks, class by class, and collect the result with its warnings and notes."""
        watch = Stopwatch()
        with watch("postprocess"), memory_errors(f"to clean {len(decided.classes)} masks"):
            bits, notes = postprocess(decided.bits, [c.name for c in decided.classes])
            logits, frame = decided.lesion_logits, decided.frame
            details = None if logits is None else details_of(decided.classes, decided.bits, frame, logits)
            kept = kept_shares(decided.bits, bits)
        warnings = decided.scan.warnings
        if decided.frame.is_empty:
            warnings += (f"Nothing in it lies above {self.card.hu_range[0]:g} HU: all masks are empty.",)
        if self.card.notice:
            warnings += (self.card.notice,)
        soft = decided.probabilities
        return Segmentation(
            decided.scan,
            decided.classes,
            ResampledMasks(bits, decided.frame),
            decided.windows,
            decided.timings | watch.seconds,
            warnings,
            (*decided.notes, *notes),
            self.card,
            decided.undecided_voxels,
            None if soft is None else Probabilities(soft, decided.frame),
            details,
            kept,
        )

    def check_request(self, request: Request | Classes = None) -> tuple[AnatomyClass, ...]:
        """The classes that `segment` would return for a request. Raises RequestError if it could not serve it."""
        return self.classes.resolve(Request.of(request).classes)

    def needed_names(self, wanted: Iterable[AnatomyClass], *, details: bool = False) -> tuple[str, ...]:
        """Names of these classes and of all others that their post-processing, or their details, read."""
        names = [c.name for c in wanted]
        hosts = [host for c in wanted for host in c.hosts if host in self.classes] if details else []
        return needed_classes([*names, *(host for host in hosts if host not in names)], self.classes.names)

    def _heads(self, classes: Iterable[AnatomyClass]) -> list[int]:
        return [self.classes.head_of(c.name) for c in classes]

"""The published pipeline from file to files, written plainly on MONAI: the slow side of a benchmark of a whole scan.

It consists of MONAI's dictionary transforms, its sliding window (batch 1, Gaussian), the sigmoid of all classes, and
then for each class the inverse transforms and a file. Post-processing is umlite's own, which is no slower than the
published one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from umlite.checks.reference_network import load_reference
from umlite.class_table import ClassTable
from umlite.errors import RequestError
from umlite.gpu.transfer import synchronise
from umlite.masks.bitmask import BitMask
from umlite.masks.postprocessing import needed_classes, postprocess
from umlite.windows import window_grid


@dataclass(frozen=True)
class ReferenceRun:
    """Cost of one run of the reference pipeline.

    Args:
        timings: seconds of read (with preparation), windows, postprocess and write (with the way back to the scan),
            extrapolated if only some windows ran or only some files were written.
        windows: number of all windows.
        windows_run: number of windows that really ran.
        files: number of all files.
        files_written: number of files that were really written.
    """

    timings: dict[str, float]
    windows: int
    windows_run: int
    files: int
    files_written: int

    @property
    def seconds(self) -> float:
        """Seconds of all steps."""
        return sum(self.timings.values())

    @property
    def is_extrapolated(self) -> bool:
        """Whether some windows or files were left out."""
        return self.windows_run < self.windows or self.files_written < self.files


class ReferencePipeline:
    """A loaded reference network with MONAI's transforms around it.

    Args:
        weights: a file made by `umlite weights convert`.
        device: a torch device.

    Raises:
        WeightsError: the file is missing, damaged or does not fit the network.
        RequestError: MONAI is not installed.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        try:
            import monai.transforms as transforms
        except ImportError as error:
            raise RequestError(
                f"The reference pipeline needs MONAI ({error}): install it with `pip install 'umlite[bench]'`."
            ) from error
        self.device = torch.device(device)
        self.network, self.card = load_reference(weights, self.device)
        self.classes = ClassTable(self.card.classes)
        low, high = self.card.hu_range
        self._prepare = transforms.Compose(
            [
                transforms.LoadImaged("image"),
                transforms.EnsureChannelFirstd("image"),
                transforms.Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
                transforms.Spacingd("image", pixdim=self.card.spacing_mm, mode="bilinear", align_corners=False),
                transforms.ScaleIntensityRanged("image", low, high, 0.0, 1.0, clip=True),
                transforms.CropForegroundd("image", source_key="image", allow_smaller=True),
            ]
        )

    def run(
        self,
        scan: Path,
        folder: Path,
        classes: str | None = None,
        *,
        overlap: float = 0.5,
        windows: int | None = None,
        files: int | None = None,
    ) -> ReferenceRun:
        """Segment a scan into folder/<class>.nii.gz. All classes are computed; the requested ones are written.

        With fewer windows or files, the seconds of the others are extrapolated and the masks mean nothing.

        Args:
            scan: the scan's file.
            folder: where masks are written.
            classes: requested classes, joined by commas; None for all.
            overlap: of neighbouring windows.
            windows: number of windows to run, evenly spread; None for all.
            files: number of files to write; None for all.
        """
        names = tuple(c.name for c in self.classes.resolve(classes))
        written = names[: len(names) if files is None else files]
        timings: dict[str, float] = {}
        with _timed(timings, "read"):
            data = self._prepare({"image": str(scan)})
        network = _Sampled(self.network, self._window_count(data["image"], overlap), windows, self.device)
        with _timed(timings, "windows"):
            logits = self._blend(data["image"], network, overlap)
        timings["windows"] += network.skipped_seconds
        with _timed(timings, "postprocess"):
            masks = self._clean((logits.sigmoid() > 0.5).cpu(), names)
        with _timed(timings, "write"):
            for name in written:
                self._write(data, masks, name, folder)
        timings["write"] *= len(names) / max(len(written), 1)
        return ReferenceRun(timings, network.count, network.ran, len(names), len(written))

    @torch.inference_mode()
    def _blend(self, image: Tensor, network: _Sampled, overlap: float) -> Tensor:
        """Blended logits [classes, X, Y, Z] on the device."""
        from monai.inferers import sliding_window_inference

        whole = torch.as_tensor(image)[None].to(self.device)
        logits = sliding_window_inference(whole, self.card.window, 1, network, overlap=overlap, mode="gaussian")
        return logits[0]

    def _clean(self, masks: Tensor, names: Sequence[str]) -> BitMask:
        needed = needed_classes(names, self.classes.names)
        bits = BitMask.from_masks({name: masks[self.classes.head_of(name)].numpy() for name in needed})
        return postprocess(bits, names)[0]

    def _write(self, data: dict[str, Any], masks: BitMask, name: str, folder: Path) -> None:
        """Invert all transforms for one class and write its file, as the published script does for each class."""
        from monai.data import MetaTensor
        from monai.transforms import Invertd, SaveImage

        mask = torch.from_numpy(masks.mask(name).astype("float32"))[None]
        item: Any = {**data, "mask": MetaTensor(mask, meta=data["image"].meta)}
        inverted = Invertd("mask", self._prepare, orig_keys="image", nearest_interp=True)(item)["mask"]
        save = SaveImage(
            output_dir=folder,
            output_postfix="",
            output_dtype="uint8",
            resample=False,
            separate_folder=False,
            print_log=False,
            output_name_formatter=lambda _meta, _saver: {"subject": name, "idx": None},
        )
        save(inverted)

    def _window_count(self, image: Tensor, overlap: float) -> int:
        shape = [max(size, side) for size, side in zip(image.shape[1:], self.card.window, strict=True)]
        return len(window_grid((shape[0], shape[1], shape[2]), self.card.window, overlap))


class _Sampled:
    """A network that computes some windows, evenly spread, and repeats its last result for the others."""

    def __init__(self, network: torch.nn.Module, count: int, wanted: int | None, device: torch.device) -> None:
        self.network, self.count, self.device = network, count, device
        wanted = count if wanted is None else min(max(wanted, 1), count)
        self._chosen = {round(k * count / wanted) for k in range(wanted)}
        self._called = 0
        self._seconds = 0.0
        self._answer: Tensor | None = None

    @property
    def ran(self) -> int:
        return len(self._chosen)

    @property
    def skipped_seconds(self) -> float:
        """Seconds that the other windows would have taken, at the mean of those that ran."""
        return self._seconds / self.ran * (self.count - self.ran)

    def __call__(self, window: Tensor) -> Tensor:
        if self._called in self._chosen or self._answer is None:
            start = time.perf_counter()
            self._answer = self.network(window)
            synchronise(self.device)
            self._seconds += time.perf_counter() - start
        self._called += 1
        return self._answer


@contextmanager
def _timed(timings: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[step] = time.perf_counter() - start

"""An endless, reproducible sequence of training windows, from images that background processes make."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from umlite.phantom import draw_spec, render_phantom
from umlite.phantom.noise import stream
from umlite.phantom.spec import with_more_lesions
from umlite.training.image import Bits, TrainingImage, class_bits, make_image, pack_masks
from umlite.training.windows import WindowSample, WindowSampler

_NOISY_HU = (25.0, 45.0)


class Source(Protocol):
    """Makes the image of a seed, always the same one. Picklable."""

    def make(self, seed: int) -> TrainingImage: ...


@dataclass(frozen=True)
class PhantomSource:
    """Procedural phantoms; what they do not model is unknown.

    absent: classes that no phantom shows and that are therefore known to be absent.
    more_lesions: how many lesions a phantom gets on average beside its own, so that rare classes are seen often.
    native_share, noisy_share: of the phantoms, how many are rendered without contrast agent, and how many with a sharp
    kernel and the noise of that, whatever was drawn for them.
    """

    classes: tuple[str, ...]
    spacing_mm: tuple[float, float, float]
    absent: tuple[str, ...] = ()
    more_lesions: float = 0.0
    native_share: float = 0.0
    noisy_share: float = 0.0

    def make(self, seed: int) -> TrainingImage:
        spec = with_more_lesions(draw_spec(seed), self.more_lesions)
        if stream(seed, "native").random() < self.native_share:
            spec = replace(spec, phase="native")
        noisy = stream(seed, "noisy")
        if noisy.random() < self.noisy_share:
            spec = replace(spec, kernel="sharp", noise_hu=float(noisy.uniform(*_NOISY_HU)))
        phantom = render_phantom(spec, self.spacing_mm)
        present = pack_masks(phantom.masks, self.classes)
        known = np.full(present.shape, class_bits((*phantom.masks, *self.absent), self.classes), np.uint32)
        return make_image(phantom.hu, present, known, len(self.classes))


@dataclass(frozen=True)
class Mixture:
    """Images of several sources, each with its share."""

    sources: tuple[Source, ...]
    shares: tuple[float, ...]
    seed: int

    def make(self, seed: int) -> TrainingImage:
        which = np.random.default_rng([self.seed, seed]).choice(len(self.sources), p=self.shares)
        return self.sources[which].make(seed)


@dataclass(frozen=True, eq=False)
class Batch:
    """voxels: float32 [N, 1, D, H, W] in [0, 1]. present, known: uint32 [N, D, H, W]."""

    voxels: Tensor
    present: Bits
    known: Bits


class WindowStream:
    """Window number i is a function of the seed and i alone, whatever was asked for before and by whom it was made.

    A pool of `pool` images moves on by one every `windows_per_image` windows; each window comes from one of them.
    workers: background processes that make the images; 0 makes them on demand.
    """

    def __init__(
        self, source: Source, sampler: WindowSampler, seed: int, pool: int, windows_per_image: int, workers: int
    ) -> None:
        self._source, self._sampler, self._seed = source, sampler, seed
        self._pool, self._windows_per_image = pool, windows_per_image
        self._images: dict[int, Future[TrainingImage]] = {}
        self._executor = (
            ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,))
            if workers
            else None
        )
        self._ahead = 2 * workers

    def batch(self, first: int, size: int) -> Batch:
        """Windows number first to first + size - 1."""
        windows = [self._window(i) for i in range(first, first + size)]
        return Batch(
            torch.stack([torch.from_numpy(w.voxels) for w in windows])[:, None],
            np.stack([w.present for w in windows]),
            np.stack([w.known for w in windows]),
        )

    def close(self) -> None:
        if self._executor:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> WindowStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _window(self, i: int) -> WindowSample:
        oldest = i // self._windows_per_image
        count = min(self._pool, 4 + i // 4)  # starts with few images, so that the first steps need not wait
        rng = np.random.default_rng([self._seed, i])
        for old in [k for k in self._images if k < oldest]:
            del self._images[old]
        for k in range(oldest, oldest + count + self._ahead):
            if k not in self._images:
                self._images[k] = self._start(k)
        return self._sampler.draw(self._images[oldest + int(rng.integers(count))].result(), rng)

    def _start(self, k: int) -> Future[TrainingImage]:
        if self._executor:
            return self._executor.submit(self._source.make, k)
        made: Future[TrainingImage] = Future()
        made.set_result(self._source.make(k))
        return made


def fixed_batches(source: Source, sampler: WindowSampler, seeds: Sequence[int], windows: int) -> list[Batch]:
    """The same windows every time, for validation: one batch of `windows` from the image of each seed."""
    batches = []
    for seed in seeds:
        with WindowStream(_One(source, seed), sampler, seed, 1, windows, 0) as source_stream:
            batches.append(source_stream.batch(0, windows))
    return batches


@dataclass(frozen=True)
class _One:
    source: Source
    seed: int

    def make(self, seed: int) -> TrainingImage:  # noqa: ARG002
        return self.source.make(self.seed)

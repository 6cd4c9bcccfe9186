"""An endless, reproducible sequence of training windows, from images that background processes make."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from umlite.training.image import Bits, TrainingImage
from umlite.training.windows import WindowSample, WindowSampler


class ImageSource(Protocol):
    """Makes the image of a seed, always the same one. Picklable: background processes get a copy."""

    def make(self, seed: int) -> TrainingImage: ...


@dataclass(frozen=True)
class Mixture:
    """Images of several sources.

    Args:
        sources: where images come from.
        shares: the probability of each source; they add up to 1.
        seed: of the choice between sources.
    """

    sources: tuple[ImageSource, ...]
    shares: tuple[float, ...]
    seed: int

    def make(self, seed: int) -> TrainingImage:
        which = np.random.default_rng([self.seed, seed]).choice(len(self.sources), p=self.shares)
        return self.sources[which].make(seed)


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows to train on.

    Args:
        voxels: float32 [N, 1, D, H, W] in [0, 1].
        present, known: `Bits` [N, D, H, W], see `TrainingImage`.
    """

    voxels: Tensor
    present: Bits
    known: Bits


class WindowStream:
    """Numbered windows. Window i depends on the seed and i alone, not on earlier requests or the number of workers.

    Windows are drawn from a pool of images. Every `windows_per_image` windows, a new image replaces the oldest one.

    Args:
        source: makes image 0, 1, 2, ...
        sampler: draws windows from an image.
        seed: of all draws.
        pool: images that windows are drawn from at a time.
        windows_per_image: windows between two new images.
        workers: background processes that make images; 0 makes them on demand.
    """

    def __init__(
        self, source: ImageSource, sampler: WindowSampler, seed: int, pool: int, windows_per_image: int, workers: int
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
        """Windows `first` to `first + size - 1`."""
        windows = [self._window(i) for i in range(first, first + size)]
        return Batch(
            torch.stack([torch.from_numpy(w.voxels) for w in windows])[:, None],
            np.stack([w.present for w in windows]),
            np.stack([w.known for w in windows]),
        )

    def close(self) -> None:
        """End the background processes."""
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


def fixed_batches(source: ImageSource, sampler: WindowSampler, seeds: Sequence[int], windows: int) -> list[Batch]:
    """The same windows every time, for validation: a batch of `windows` from the image of each seed."""
    batches = []
    for seed in seeds:
        with WindowStream(_OneImage(source, seed), sampler, seed, 1, windows, 0) as stream:
            batches.append(stream.batch(0, windows))
    return batches


@dataclass(frozen=True)
class _OneImage:
    source: ImageSource
    seed: int

    def make(self, seed: int) -> TrainingImage:  # noqa: ARG002
        return self.source.make(self.seed)

"""Voxels of labelled scans as the frozen network sees them: its features there, the class, and how much each counts."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from umlite.errors import WeightsError
from umlite.files import file_sha256, make_folder
from umlite.outputs.file_set import replacing
from umlite.volume.geometry import index_map
from umlite.volume.resampling import resample_nearest
from umlite.windows import Size, axis_starts, padded_shape, window_at

if TYPE_CHECKING:
    from umlite.api import Segmenter
    from umlite.extension.labelled import Labelled
    from umlite.volume.preparation import Volume

INSIDE, NEAR, FAR, HARD = 6000, 3000, 3000, 3000
"""Most voxels of a window that are kept: of the class, near it, elsewhere, and those that a first answer got wrong."""
NEAR_VOXELS = 4
OVERLAP = 0.25

Answer = Callable[[Tensor, Tensor], Tensor]
"""(feature [K, V], image vector [gap_width]) -> logits [V]."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Sampled voxels of one scan's windows.

    image: float32 [windows, gap_width]. feature: float16 [voxels, K]. window: int64 [voxels], which window each is of.
    inside: bool [voxels], whether it is of the class. weight: float32 [voxels], how many voxels each stands for.
    """

    image: Tensor
    feature: Tensor
    window: Tensor
    inside: Tensor
    weight: Tensor

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in vars(self).values())


class Sampler:
    """Computes samples of scans with a network, and keeps them in a folder, so that a later run finds them.

    Args:
        segmenter: the network.
        base: hash of its numbers.
        folder: keeps one file per scan.
        seed: of the choice of voxels.
    """

    def __init__(self, segmenter: Segmenter, base: str, folder: Path, seed: int) -> None:
        self._segmenter, self._base, self._folder, self._seed = segmenter, base, folder, seed
        make_folder(folder)

    def keeps(self, content: str) -> bool:
        """Whether there is a file of samples of a scan. content: hash of scan and mask."""
        return self._path(content).is_file()

    def of(self, labelled: Labelled, content: str) -> Samples:
        """Samples of a scan, computed unless they are kept. content: hash of scan and mask."""
        path = self._path(content)
        if (found := _read(path)) is None:
            found = self._compute(labelled, content, None)
            _write(path, found)
        return found

    def hard(self, labelled: Labelled, content: str, answer: Answer) -> Samples:
        """Further samples of a scan: voxels that an answer gets most wrong."""
        return self._compute(labelled, content, answer)

    def _path(self, content: str) -> Path:
        card = self._segmenter.card
        facts = f"2 {self._base} {content} {self._seed} {card.window} {card.spacing_mm} {card.hu_range}"
        return self._folder / f"{hashlib.sha256(facts.encode()).hexdigest()[:32]}.safetensors"

    def _compute(self, labelled: Labelled, content: str, answer: Answer | None) -> Samples:
        scan, mask = labelled.read()
        volume = self._segmenter.engine.prepare(scan)
        truth = torch.from_numpy(mask_on_model(mask, volume))
        rng = np.random.default_rng([self._seed, int(content[:8], 16)])
        parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for voxels, inside, count in windows_of(volume, truth, self._segmenter.card.window):
            feature, image = self._segmenter.engine.window_features(voxels)
            if answer is None:
                places, weights = _choose(inside, count, rng)
            else:
                places, weights = _mistaken(answer(feature.flatten(1), image), inside)
            if len(places):
                here = torch.from_numpy(places)
                parts.append(
                    (image, feature.flatten(1)[:, here].T.half(), inside.flatten()[here], torch.from_numpy(weights))
                )
        return _joined(parts)


def windows_of(volume: Volume, truth: Tensor, window: Size) -> Iterator[tuple[Tensor, Tensor, NDArray[np.float32]]]:
    """Windows that cover a volume, with the mask and how much each voxel counts: voxels in several windows share it.

    Yields:
        Voxels [D, H, W] float32, mask [D, H, W] bool, weight [D, H, W] float32, 0 outside the volume.
    """
    if volume.is_empty:
        return
    shape = volume.voxels.shape
    padded = padded_shape(shape, window)
    pads = [
        p for n, m in zip(reversed(shape), reversed(padded), strict=True) for p in ((m - n) // 2, m - n - (m - n) // 2)
    ]
    voxels = torch.nn.functional.pad(volume.voxels.cpu(), pads)
    labels = torch.nn.functional.pad(truth, pads)
    times = torch.zeros(padded)
    starts = list(itertools.product(*axis_starts(padded, window, OVERLAP)))
    for start in starts:
        times[window_at(start, window)] += 1
    weight = torch.nn.functional.pad(torch.ones(shape), pads) / times
    for start in starts:
        here = window_at(start, window)
        if voxels[here].any():
            yield voxels[here], labels[here], weight[here].numpy()


def mask_on_model(mask: NDArray[np.bool_], volume: Volume) -> NDArray[np.bool_]:
    """A mask of the scan on the grid of its volume, nearest neighbour."""
    frame = volume.frame
    stored = np.ascontiguousarray(mask.transpose(frame.axes))
    box = tuple(slice(a, b) for a, b in zip(frame.start, frame.stop, strict=True))
    to_stored = index_map(frame.model, frame.stored)
    return resample_nearest(stored, to_stored, frame.model.shape, frame.stored.shape, (0, 0, 0), box)  # type: ignore[arg-type]


def _choose(
    inside: Tensor, count: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Voxels of the class, near it and elsewhere, and how many each stands for."""
    near = torch.nn.functional.max_pool3d(inside[None, None].float(), 2 * NEAR_VOXELS + 1, 1, NEAR_VOXELS)[0, 0] > 0
    groups = ((inside, INSIDE), (near & ~inside, NEAR), (~near, FAR))
    places, weights = [], []
    for group, most in groups:
        found = np.flatnonzero(group.numpy().ravel() & (count.ravel() > 0))
        some = found if len(found) <= most else np.sort(rng.choice(found, most, replace=False))
        if len(some):
            places.append(some)
            weights.append(count.ravel()[some] * np.float32(len(found) / len(some)))
    if not places:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    return np.concatenate(places), np.concatenate(weights)


def _mistaken(logits: Tensor, inside: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The voxels that are answered most wrongly, each for itself alone."""
    wrong = torch.where(inside.flatten(), -logits, logits)
    found = torch.nonzero(wrong > 0).flatten()
    if len(found) > HARD:
        found = found[torch.topk(wrong[found], HARD).indices]
    return found.numpy(), np.ones(len(found), np.float32)


def _joined(parts: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> Samples:
    if not parts:
        empty = torch.zeros(0)
        return Samples(empty.reshape(0, 0), empty.half().reshape(0, 0), empty.long(), empty.bool(), empty)
    window = torch.cat([torch.full((len(inside),), n) for n, (_, _, inside, _) in enumerate(parts)])
    images = torch.stack([image for image, *_ in parts])
    features, insides, weights = (torch.cat([part[n] for part in parts]) for n in (1, 2, 3))
    return Samples(images, features, window, insides, weights)


def _write(path: Path, samples: Samples) -> None:
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in vars(samples).items()}, temporary)


def _read(path: Path) -> Samples | None:
    """Kept samples; None where there are none that can be used."""
    from safetensors.torch import load_file

    from umlite.weights.stored_tensors import opened

    if not path.is_file():
        return None
    try:
        with opened(path, "pt"):
            tensors = load_file(path)
        found = Samples(**tensors)
    except (WeightsError, TypeError, ValueError):
        return None
    return found if len(found.feature) == len(found.window) == len(found.inside) == len(found.weight) else None


def content_hash(labelled: Labelled) -> str:
    """Hash of a scan and its mask. Raises OSError."""
    text = f"{file_sha256(labelled.scan)} {file_sha256(labelled.mask)} {labelled.value}"
    return hashlib.sha256(text.encode()).hexdigest()

"""No forgetting: the logits of all classes of a network with packs and without them, compared to the bit.

A network's logits are kept as one hash per class, so that one network at a time is in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from umlite.extension.labelled import Labelled
from umlite.extension.samples import Sampler, Samples, content_hash, windows_of
from umlite.kernels.implementations import REFERENCE
from umlite.models.linear_heads import LinearHeads
from umlite.models.parameter_generator import ParameterGenerator
from umlite.training.network import dynamic_heads_batched
from umlite.volume.reading import read_scan
from umlite.weights.loading import load_model

if TYPE_CHECKING:
    from umlite.api import Segmenter


@dataclass(frozen=True)
class Comparison:
    """What was compared, and what differs.

    Args:
        classes: number of classes of the network.
        windows, logits: whole windows, and numbers in them, by the chosen engine.
        sampled_windows, sampled_logits: windows whose kept voxels were compared, and numbers there, by plain torch.
        different: names of classes with a logit that differs.
    """

    classes: int
    windows: int = 0
    logits: int = 0
    sampled_windows: int = 0
    sampled_logits: int = 0
    different: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether something was compared and nothing differs."""
        return self.windows > 0 and not self.different

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"passed": self.passed, **asdict(self), "different": list(self.different)}

    def __str__(self) -> str:
        sampled = f" and {self.sampled_logits:,} at kept voxels of {self.sampled_windows} windows"
        compared = f"{self.logits:,} logits of {self.classes} existing classes in {self.windows} windows"
        compared += sampled if self.sampled_windows else ""
        verdict = f"differ: {', '.join(self.different)}" if self.different else "are the same to the bit"
        return f"{compared} {verdict}"


class HashedLogits:
    """Logits of a network's first classes, added window by window: how many there are, and a SHA-256 per class.

    Args:
        names: of the classes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._hashes = [hashlib.sha256() for _ in names]
        self._counts = {"windows": 0, "logits": 0, "sampled_windows": 0, "sampled_logits": 0}

    def add(self, logits: Tensor, kind: str = "") -> None:
        """Add a window's logits [C, ...]. kind: "sampled_" for those of kept voxels."""
        for one, digest in zip(logits.cpu(), self._hashes, strict=True):
            digest.update(one.contiguous().numpy().data.cast("B"))
        self._counts[f"{kind}windows"] += 1
        self._counts[f"{kind}logits"] += logits.numel()

    def compare(self, after: HashedLogits) -> Comparison:
        """Compare with the logits of the same classes in the same windows."""
        pairs = zip(self.names, self._hashes, after._hashes, strict=True)
        different = tuple(name for name, one, other in pairs if one.digest() != other.digest())
        return Comparison(len(self.names), **self._counts, different=different)


def hash_windows(segmenter: Segmenter, classes: int, windows: Iterable[Tensor]) -> HashedLogits:
    """Compute whole windows [D, H, W].

    Args:
        segmenter: a network, or the same with packs, which keep its classes in their places.
        classes: number of classes of the network without packs.
        windows: those to compute.
    """
    names = segmenter.classes.names[:classes]
    hashed = HashedLogits(names)
    for window in windows:
        hashed.add(segmenter.window_logits(window[None, None], list(names))[0])
    return hashed


def hash_scans(segmenter: Segmenter, classes: int, scans: Sequence[Labelled], sampler: Sampler) -> HashedLogits:
    """Compute the middle window of each scan, and the kept voxels of all its windows.

    Args:
        segmenter, classes: as of `hash_windows`.
        scans: those whose windows are computed.
        sampler: gives the kept voxels.
    """
    hashed = hash_windows(segmenter, classes, _middle_windows(segmenter, scans))
    generator = load_model(segmenter.weights_path, REFERENCE, segmenter.packs)[0].generator
    for one in scans:
        for logits in _sampled_logits(generator, sampler.of(one, content_hash(one)), classes):
            hashed.add(logits, "sampled_")
    return hashed


def _middle_windows(segmenter: Segmenter, scans: Sequence[Labelled]) -> Iterator[Tensor]:
    for one in scans:
        volume = segmenter.engine.prepare(read_scan(one.scan))
        nothing = torch.zeros(volume.voxels.shape, dtype=torch.bool)
        if windows := [window for window, *_ in windows_of(volume, nothing, segmenter.card.window)]:
            yield windows[len(windows) // 2]


@torch.inference_mode()
def _sampled_logits(generator: ParameterGenerator | LinearHeads, samples: Samples, classes: int) -> Iterator[Tensor]:
    """Logits [classes, V] of the kept voxels of each window, of the generator's first classes."""
    fold = generator.fold(range(classes))
    for n, image in enumerate(samples.image):
        feature = samples.feature[samples.window == n].float().T[None]
        yield dynamic_heads_batched(feature, fold(image[None]))[0]

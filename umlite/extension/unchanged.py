"""No forgetting: the logits of all classes of a network with packs and without them, compared to the bit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from umlite.classes import REPLACED
from umlite.extension.labelled import Labelled
from umlite.extension.samples import Sampler, Samples, content_hash, windows_of
from umlite.kernels.implementations import REFERENCE
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


def compare_windows(base: Segmenter, extended: Segmenter, windows: Iterable[Tensor]) -> Comparison:
    """Compare whole windows [D, H, W]. extended: the network of `base` with packs."""
    names, compared, logits, different = list(base.classes.names), 0, 0, dict[str, None]()
    kept = kept_names(base, extended)
    for window in windows:
        before = base.window_logits(window[None, None], names)[0]
        after = extended.window_logits(window[None, None], kept)[0]
        different |= dict.fromkeys(n for n, a, b in zip(names, before, after, strict=True) if not torch.equal(a, b))
        compared, logits = compared + 1, logits + before.numel()
    return Comparison(len(names), compared, logits, different=tuple(different))


def compare_scans(base: Segmenter, extended: Segmenter, scans: Sequence[Labelled], sampler: Sampler) -> Comparison:
    """Compare the middle window of each scan, and the kept voxels of all its windows. sampler: of `base`."""
    found = compare_windows(base, extended, (w for one in scans if (w := _middle_window(base, one)) is not None))
    model, _ = load_model(base.weights_path, REFERENCE, base.packs)
    other, _ = load_model(extended.weights_path, REFERENCE, extended.packs)
    names, different, logits, windows = base.classes.names, dict.fromkeys(found.different), 0, 0
    for one in scans:
        samples = sampler.of(one, content_hash(one))
        for before, after in zip(*(_logits(m.generator, samples, len(names)) for m in (model, other)), strict=True):
            different |= dict.fromkeys(n for n, a, b in zip(names, before, after, strict=True) if not torch.equal(a, b))
            windows, logits = windows + 1, logits + before.numel()
    return Comparison(found.classes, found.windows, found.logits, windows, logits, tuple(different))


def kept_names(base: Segmenter, extended: Segmenter) -> list[str]:
    """What the classes of `base` are called in `extended`: a replaced one has another name."""
    own = extended.classes.names[: len(base.classes)]
    return [name if name in own else f"{name}{REPLACED}" for name in base.classes.names]


def _middle_window(base: Segmenter, labelled: Labelled) -> Tensor | None:
    volume = base.engine.prepare(read_scan(labelled.scan))
    windows = list(windows_of(volume, torch.zeros(volume.voxels.shape, dtype=torch.bool), base.card.window))
    return windows[len(windows) // 2][0] if windows else None


@torch.inference_mode()
def _logits(generator: ParameterGenerator, samples: Samples, classes: int) -> Iterable[Tensor]:
    """Logits [classes, V] of the kept voxels of each window, of the generator's first classes."""
    fold = generator.fold(range(classes))
    for n, image in enumerate(samples.image):
        feature = samples.feature[samples.window == n].float().T[None]
        yield dynamic_heads_batched(feature, fold(image[None]))[0]

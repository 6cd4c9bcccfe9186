"""What is kept of a computation beyond its masks, for statistics and checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from umlite.classes import AnatomyClass
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import ResampledMasks
from umlite.masks.postprocessing import postprocess
from umlite.sweep.lesion_logits import LesionLogits
from umlite.volume.preparation import Frame


@dataclass(frozen=True, eq=False)
class Details:
    """What a request with `details` keeps.

    Args:
        hosts: cleaned masks of organs in which the requested lesions may lie, but that were not requested themselves.
        lesion_logits: logits of the requested lesions on the model's grid, before post-processing.
    """

    hosts: ResampledMasks
    lesion_logits: LesionLogits


def details_of(classes: Sequence[AnatomyClass], predicted: BitMask, frame: Frame, logits: LesionLogits) -> Details:
    """The details of a scan.

    Args:
        classes: requested classes.
        predicted: masks on the model's grid of these and of their hosts.
        frame: the way back to the scan's grid.
        logits: logits of the requested lesions.
    """
    names = {c.name for c in classes}
    hosts = dict.fromkeys(host for c in classes for host in c.hosts if host not in names and host in predicted.names)
    others, _ = postprocess(predicted, list(hosts))
    return Details(ResampledMasks(others, frame), logits)


def kept_shares(predicted: BitMask, cleaned: BitMask) -> dict[str, float]:
    """Share of each class's predicted voxels that post-processing kept, for the classes of the cleaned masks.

    It is over 1 where a rule gave a class voxels of another. A class of which nothing was predicted has no entry.
    """
    before, after = predicted.counts(), cleaned.counts()
    return {name: after[name] / before[name] for name in cleaned.names if before[name]}

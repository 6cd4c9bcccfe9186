"""What is kept of a computation beyond its masks, for statistics and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from umlite.classes import AnatomyClass
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import MasksOnScan, ResampledMasks
from umlite.masks.postprocessing import postprocess
from umlite.sweep.lesion_logits import LesionLogits
from umlite.volume.preparation import Frame


@dataclass(frozen=True, eq=False)
class Details:
    """What a request with `details` keeps.

    Args:
        hosts: cleaned masks of organs in which the requested lesions may lie, but that were not requested themselves.
        lesion_logits: logits of the requested lesions on the model's grid, before post-processing.
        kept_shares: share of each class's predicted voxels that post-processing kept, up to 1; over 1 where it took
            voxels from another class. No entry where nothing was predicted.
    """

    hosts: MasksOnScan
    lesion_logits: LesionLogits
    kept_shares: Mapping[str, float]


def details_of(
    classes: Sequence[AnatomyClass], predicted: BitMask, cleaned: BitMask, frame: Frame, logits: LesionLogits
) -> Details:
    """The details of a scan.

    Args:
        classes: requested classes.
        predicted: masks on the model's grid of these and of their hosts.
        cleaned: the masks of the requested classes after post-processing.
        frame: the way back to the scan's grid.
        logits: logits of the requested lesions.
    """
    names = {c.name for c in classes}
    hosts = dict.fromkeys(host for c in classes for host in c.hosts if host not in names and host in predicted.names)
    others, _ = postprocess(predicted, list(hosts))
    before, after = predicted.counts(), cleaned.counts()
    shares = {name: after[name] / before[name] for name in cleaned.names if before[name]}
    return Details(ResampledMasks(others, frame), logits, shares)

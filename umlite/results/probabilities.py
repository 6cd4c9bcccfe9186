"""Soft answers of one scan, from the file that a run leaves them in."""

from __future__ import annotations

from dataclasses import dataclass

from umlite.masks.probability_on_scan import ProbabilityOnScan
from umlite.sweep.probability_file import ProbabilityFile
from umlite.volume.preparation import Frame


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Sigmoid of the blended logits of each class, before post-processing; the hosts that it needed too.

    file: on the model's grid. frame: the way back to the scan's.
    """

    file: ProbabilityFile
    frame: Frame

    def on_scan(self, name: str) -> ProbabilityOnScan:
        """Of one class, canonical name, in steps of 1 / 255. Raises RequestError for one that is not there."""
        return ProbabilityOnScan(self.file.read(name), self.frame)

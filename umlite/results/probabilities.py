"""Probabilities of one scan, read from the file into which a run has written them."""

from __future__ import annotations

from dataclasses import dataclass

from umlite.masks.probability_on_scan import ProbabilityOnScan
from umlite.sweep.probability_file import ProbabilityFile
from umlite.volume.preparation import Frame


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Sigmoids of the blended logits of each class, before post-processing.

    Args:
        file: probabilities on the model's grid, also of host organs that were computed along.
        frame: the way back to the scan's grid.
    """

    file: ProbabilityFile
    frame: Frame

    def on_scan(self, name: str) -> ProbabilityOnScan:
        """Probability of one class (canonical name) in steps of 1 / 255. Raises RequestError if it was not computed."""
        return ProbabilityOnScan(self.file.read(name), self.frame)

"""Predicts the cost of each scan of a run once it is prepared, before any of its windows runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from umlite.api import Prepared, Segmenter
from umlite.cost.calibration import remembered
from umlite.cost.limits import Limits
from umlite.cost.measuring import calibration_of
from umlite.cost.memory import ADAPTIVE, ALL_WINDOWS
from umlite.cost.outlook import most_bytes, outlook
from umlite.cost.prediction import Prediction, predict, process_bytes
from umlite.machine.memory import free_bytes
from umlite.progress import Notify, no_notice
from umlite.request import Classes, Request

if TYPE_CHECKING:
    from umlite.dicom.series import Series

_SHARE_OF_FREE = 0.7


class Forecast:
    """Predicts scan after scan and refuses those beyond the limits.

    Without limits it predicts only if a calibration is kept, and never measures. With limits it calibrates if needed.

    Args:
        segmenter: runs the scans.
        request: what is asked of each scan.
        limits: None for none.
        tell: gets a sentence before a calibration.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        request: Request | Classes = None,
        limits: Limits | None = None,
        tell: Notify = no_notice,
    ) -> None:
        self._segmenter, self._request = segmenter, Request.of(request)
        self._limits = limits or Limits()
        self._calibration = calibration_of(segmenter, tell=tell) if self._limits.any else remembered(segmenter)

    def of(self, prepared: Prepared, request: Request | None = None) -> Prediction | None:
        """Predict the cost of a prepared scan; None if this machine is not calibrated.

        request: what is asked of this scan, where that is something else.

        Raises:
            DeviceError: the cost is beyond the limits.
        """
        if self._calibration is None:
            return None
        cost = predict(self._segmenter, self._calibration, prepared, request or self._request)
        self._limits.check(cost)
        return cost

    def fits(self, scans_bytes: int) -> bool:
        """Whether scans that take so many bytes fit in memory at once, beside the network.

        Within the limit if there is one; else in most of what the machine has left.
        """
        if self._limits.ram is None:
            free = free_bytes(torch.device("cpu"))
            return free is None or scans_bytes < _SHARE_OF_FREE * free
        if self._calibration is None:
            return False
        needed = self._segmenter.needed_names(self._segmenter.check_request(self._request), details=True)
        own = process_bytes(self._segmenter, self._calibration, needed) + self._calibration.class_bytes * len(needed)
        return own + scans_bytes <= self._limits.ram

    def size_of(self, source: Path | Series, request: Request) -> int:
        """The most memory that a scan takes beside the network, by its header; 0 where none can be read."""
        shapes = outlook(source, self._segmenter.card)
        if shapes is None:
            return 0
        asked = self._segmenter.check_request(request)
        layout = ADAPTIVE if request.windows == "adaptive" else ALL_WINDOWS
        return most_bytes(shapes, len(self._segmenter.needed_names(asked, details=request.details)), layout)

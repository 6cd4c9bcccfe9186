"""Predicts the cost of each scan of a run once it is prepared, before any of its windows runs."""

from __future__ import annotations

from umlite.api import Prepared, Segmenter
from umlite.cost.calibration import remembered
from umlite.cost.limits import Limits
from umlite.cost.measuring import calibration_of
from umlite.cost.prediction import Prediction, predict
from umlite.progress import Notify, no_notice
from umlite.request import Classes, Request


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

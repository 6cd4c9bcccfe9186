"""The cost of each scan of a run, predicted once it is prepared, before any window of it is computed."""

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

    Without limits it predicts only where a calibration is remembered, and never measures. With limits it measures
    first where it must; tell: gets a sentence then.
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

    def of(self, prepared: Prepared) -> Prediction | None:
        """What segmenting a prepared scan will cost; None where nothing is known of this machine.

        Raises DeviceError when that is beyond the limits.
        """
        if self._calibration is None:
            return None
        cost = predict(self._segmenter, self._calibration, prepared, self._request)
        self._limits.check(cost)
        return cost

"""The cost of each scan of a run, predicted once it is prepared, before any window of it is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from umlite.api import Segmenter
from umlite.cost.calibration import remembered
from umlite.cost.limits import Limits
from umlite.cost.measuring import calibration_of
from umlite.cost.prediction import Prediction, predict
from umlite.volume.preparation import Volume
from umlite.volume.reading import Scan


class Forecast:
    """Predicts scan after scan and refuses those beyond the limits.

    Without limits it predicts only where a calibration is remembered, and never measures. With limits it measures
    first where it must; tell: gets a sentence then. overlap, windows: as of `Segmenter.segment`.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        overlap: float = 0.5,
        limits: Limits | None = None,
        tell: Callable[[str], None] = lambda _sentence: None,
        windows: str = "all",
    ) -> None:
        self._segmenter, self._overlap, self._windows = segmenter, overlap, windows
        self._limits = limits or Limits()
        self._calibration = calibration_of(segmenter, tell=tell) if self._limits.any else remembered(segmenter)

    def of(self, scan: Scan, volume: Volume, names: Sequence[str]) -> Prediction | None:
        """What segmenting `scan` into the classes `names` will cost; None where nothing is known of this machine.

        volume: prepared from the scan. Raises DeviceError when that is beyond the limits.
        """
        if self._calibration is None:
            return None
        cost = predict(self._segmenter, self._calibration, scan, volume, names, self._overlap, self._windows)
        self._limits.check(cost)
        return cost

"""The cost of a finished scan, beside its prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from umlite.machine.sizes import GB

if TYPE_CHECKING:
    from umlite.cost.prediction import Prediction


@dataclass(frozen=True)
class Cost:
    """The cost of one scan.

    Args:
        timings: seconds by step, from reading to writing.
        peak_bytes: the largest resident set of the process meanwhile.
        predicted: None if this machine has not been calibrated.
    """

    timings: dict[str, float]
    peak_bytes: int
    predicted: Prediction | None = None

    @property
    def seconds(self) -> float:
        """Seconds of all steps."""
        return sum(self.timings.values())

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        actual = {"seconds": round(self.seconds, 2), "peak_gb": round(self.peak_bytes / GB, 3)}
        timings = {step: round(seconds, 3) for step, seconds in self.timings.items()}
        predicted = self.predicted.to_dict() if self.predicted else None
        return {"timings_s": timings, "predicted": predicted, "actual": actual}

    def __str__(self) -> str:
        predicted = self.predicted
        seconds = f" ({predicted.seconds:.1f} predicted)" if predicted else ""
        memory = f" ({predicted.peak_bytes / GB:.2f} predicted)" if predicted else ""
        return f"{self.seconds:.1f} s{seconds}, {self.peak_bytes / GB:.2f} GB at most{memory}"

"""What a scan did cost, beside what was predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from umlite.cost.prediction import Prediction

GB = 1e9


@dataclass(frozen=True)
class Cost:
    """seconds: of all steps, from reading to writing. peak_bytes: the largest resident set of the process meanwhile.

    predicted: None where nothing was known of this machine.
    """

    seconds: float
    peak_bytes: int
    predicted: Prediction | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        actual = {"seconds": round(self.seconds, 2), "peak_gb": round(self.peak_bytes / GB, 3)}
        return {"predicted": self.predicted.to_dict() if self.predicted else None, "actual": actual}

    def __str__(self) -> str:
        predicted = self.predicted
        seconds = f" ({predicted.seconds:.1f} predicted)" if predicted else ""
        memory = f" ({predicted.peak_bytes / GB:.2f} predicted)" if predicted else ""
        return f"{self.seconds:.1f} s{seconds}, {self.peak_bytes / GB:.2f} GB at most{memory}"

"""Limits of memory that a user has set for a run."""

from __future__ import annotations

from dataclasses import dataclass

from umlite.cost.prediction import Prediction
from umlite.engines.options import EngineOptions
from umlite.errors import DeviceError
from umlite.machine.sizes import format_size


@dataclass(frozen=True)
class Limits:
    """The most memory that a run may take.

    Args:
        ram: bytes of the process's resident set; None for no limit.
        vram: bytes of GPU memory; None for no limit.
    """

    ram: int | None = None
    vram: int | None = None

    @classmethod
    def of(cls, options: EngineOptions) -> Limits:
        """The limits that some options set."""
        return cls(options.max_ram, options.max_vram)

    @property
    def any(self) -> bool:
        """Whether any limit is set."""
        return self.ram is not None or self.vram is not None

    def excess(self, cost: Prediction) -> str:
        """Sentences on how far a run exceeds the limits and what would fit; empty if it fits.

        GPU memory is compared with sums on the host, since the engine moves them there if it must.
        """
        found = []
        if self.ram is not None and cost.peak_bytes > self.ram:
            count = cost.classes_within(self.ram)
            if not count:
                advice = f"One class alone needs {format_size(min(cost.fitting.values()))}."
            elif count == 1:
                advice = "One class at a time fits: ask for fewer classes."
            else:
                advice = f"{count} classes at a time fit: ask for fewer classes."
            found.append(_over("memory", cost.peak_bytes, self.ram, advice))
        if self.vram is not None and cost.vram_bytes[1] > self.vram:
            advice = "Ask for a batch of 1 window, or use the CPU."
            found.append(_over("GPU memory", cost.vram_bytes[1], self.vram, advice))
        return " ".join(found)

    def check(self, cost: Prediction) -> None:
        """Raise DeviceError if a run would exceed the limits."""
        if message := self.excess(cost):
            limits = {"max_ram": self.ram, "max_vram": self.vram}
            raise DeviceError(message, about=("classes", *(name for name, size in limits.items() if size is not None)))


def _over(what: str, needed: int, limit: int, advice: str) -> str:
    return (
        f"This scan needs {format_size(needed)} of {what}, {format_size(needed - limit)} more than the "
        f"{format_size(limit)} allowed. {advice}"
    )

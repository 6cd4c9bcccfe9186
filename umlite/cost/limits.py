"""How much memory a run may take, as asked for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from umlite.cost.actual import GB
from umlite.cost.prediction import Prediction
from umlite.errors import DeviceError, RequestError

UNITS = {"": 1e9, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2**10, "mib": 2**20, "gib": 2**30}


@dataclass(frozen=True)
class Limits:
    """Bytes of the process's resident set and of a GPU's memory; None: as much as there is."""

    ram: int | None = None
    vram: int | None = None

    @classmethod
    def parse(cls, ram: str | None, vram: str | None) -> Limits:
        """From what was asked for, as "3GB", "800MB", "2GiB" or gigabytes without a unit. Raises RequestError."""
        return cls(_bytes(ram, "--max-ram"), _bytes(vram, "--max-vram"))

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return self.ram is not None or self.vram is not None

    def excess(self, cost: Prediction) -> str:
        """By how much a run is too large and what would fit, in sentences; empty where it fits.

        With its sums on the host a run takes least of a GPU's memory; the engine moves them where it must.
        """
        found = []
        if self.ram is not None and cost.peak_bytes > self.ram:
            count = cost.classes_within(self.ram)
            if not count:
                advice = f"One class alone needs {min(cost.fitting.values()) / GB:.2f} GB."
            elif count == 1:
                advice = "One class at a time fits, asked for with --classes."
            else:
                advice = f"{count} classes at a time fit, asked for with --classes."
            found.append(_over("memory", cost.peak_bytes, self.ram, advice))
        if self.vram is not None and cost.vram_bytes[1] > self.vram:
            advice = "Ask for a --batch of 1, or for --device cpu."
            found.append(_over("GPU memory", cost.vram_bytes[1], self.vram, advice))
        return " ".join(found)

    def check(self, cost: Prediction) -> None:
        """Raise DeviceError where a run would be too large."""
        if message := self.excess(cost):
            raise DeviceError(message)


def _over(what: str, needed: int, limit: int, advice: str) -> str:
    return (
        f"This scan needs {needed / GB:.2f} GB of {what}, {(needed - limit) / GB:.2f} GB more than the "
        f"{limit / GB:.2f} GB allowed. {advice}"
    )


def _bytes(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*", text.lower())
    size = float(match[1]) * UNITS.get(match[2], math.nan) if match else math.nan
    if not size >= 1 or size > 1e18:
        raise RequestError(f"Expected {option} like 3GB, 800MB or 2.5 (gigabytes), found {text!r}.")
    return int(size)

"""What every benchmark prints: for people first, then one line of JSON for tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

from umlite.machine.description import describe_machine


def begin(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """A report: the benchmark's name, its options, the machine. Prints where it runs."""
    machine = describe_machine()
    print(f"{name} on {machine['processor']}, {machine['threads']} threads, {machine['date']}", flush=True)
    return {"bench": name, "options": options, "machine": machine}


def finish(report: dict[str, Any]) -> None:
    """Print the report as JSON, in one line: the last."""
    print(json.dumps(report, allow_nan=False), flush=True)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, least and greatest of at least one value, and the values."""
    rounded = [round(v, 4) for v in values]
    return {"median": round(statistics.median(values), 4), "least": min(rounded), "most": max(rounded), "all": rounded}

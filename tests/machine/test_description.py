"""The machine's description says what a table needs."""

from __future__ import annotations

import json

from umlite.machine.description import describe_machine, memory_bytes


def test_description() -> None:
    machine = describe_machine()
    assert {"processor", "cores", "threads", "memory_gb", "torch", "date"} <= machine.keys()
    assert machine["cores"] >= 1
    assert memory_bytes() > 1e8
    json.dumps(machine, allow_nan=False)

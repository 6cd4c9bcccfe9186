"""A peak is seen, and forgotten where the system allows."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import numpy as np
from umlite.machine.memory import peak_bytes, resident_bytes, start_peak

LARGE = 200_000_000
resets = start_peak()
before = peak_bytes()
array = np.ones(LARGE, np.uint8)
assert resident_bytes() >= LARGE
del array
assert peak_bytes() >= before + 0.9 * LARGE or not resets
if start_peak():
    assert peak_bytes() < before + 0.5 * LARGE
print("done")
"""


def test_peak_of_a_large_array() -> None:
    """In a process of its own: the allocator of one that has run long may keep what is freed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr

"""Under a limit of the address space (ulimit -v, batch systems) a run works or says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
import gc, resource, sys
from pathlib import Path
from umlite import Segmenter
from umlite.errors import DeviceError

def size() -> int:
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("VmSize"))

def attempt() -> str:
    try:
        Segmenter(sys.argv[2], device="cpu", kernels=sys.argv[1]).segment(sys.argv[3], "liver")
    except DeviceError as error:
        return "refused" if "memory" in str(error) else str(error)
    return "done"

print(attempt())
for more_mb in (0, 4, 16, 64, 4096):
    gc.collect()
    resource.setrlimit(resource.RLIMIT_AS, (size() + (more_mb << 20), resource.RLIM_INFINITY))
    result = attempt()
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(result)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a system that tells the size of a process")
@pytest.mark.parametrize("kernels", [pytest.param("native", marks=pytest.mark.kernels), "torch"])
def test_refused_memory_is_told(kernels: str, small_weights: Path, scan_file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kernels, str(small_weights), str(scan_file)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    results = done.stdout.split()
    assert len(results) == 6, done.stderr[-2000:]
    assert results[0] == results[-1] == "done"
    assert set(results) == {"done", "refused"}

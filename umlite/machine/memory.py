"""The most memory that this process held, from a moment on."""

from __future__ import annotations

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def start_peak() -> bool:
    """Forget the peak so far. False where the system cannot: the next `peak_bytes` is then since the process began."""
    try:
        CLEAR.write_text("5")  # proc(5): resets the peak resident set size
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """The largest resident set since `start_peak`, in bytes; since the process began where that did nothing."""
    return _status("VmHWM") or _lifetime_peak()


def resident_bytes() -> int:
    """The resident set of this moment, in bytes; the largest so far where the system does not tell."""
    return _status("VmRSS") or _lifetime_peak()


def _status(field: str) -> int:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


def _lifetime_peak() -> int:
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024

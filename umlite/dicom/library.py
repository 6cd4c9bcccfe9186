"""The optional package behind DICOM: imported where it is needed, its remarks kept off the terminal."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from umlite.errors import InputError

_lock = threading.Lock()
_users = 0
_saved: Any = None


def pydicom() -> Any:
    """The package pydicom. Raises InputError where it is not installed."""
    try:
        import pydicom
    except ImportError as error:
        raise InputError(
            "Reading DICOM needs the package pydicom, which is not installed: pip install 'umlite[dicom]'."
        ) from error
    return pydicom


@contextmanager
def quietly() -> Iterator[None]:
    """Without Python's warnings from pydicom: what matters is told by umlite. Any number of threads may be inside."""
    global _users, _saved
    with _lock:
        if _users == 0:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.filterwarnings("ignore", module="pydicom|highdicom|PIL")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _saved.__exit__(None, None, None)

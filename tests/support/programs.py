"""Programs that wheels of the extra `test` bring."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest


def needed(program: str, wheel: str) -> str:
    """The path of a program, in PATH or beside Python, whose environment need not be active. Skips where it is none."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    if (found := shutil.which(program, path=places)) is None:
        pytest.skip(f"needs {program}: {wheel} (a wheel of the extra `test`)")
    return found

"""What a run put into a folder."""

from __future__ import annotations

import os
from pathlib import Path


def results_in(folder: str | Path) -> list[str]:
    """Sorted names of everything in a scan's folder, but for the run manifest, which must be there."""
    names = sorted(os.listdir(folder))
    names.remove("manifest.json")
    return names

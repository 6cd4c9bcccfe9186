"""Whether a scan can be one of a body."""

from __future__ import annotations

import numpy as np

LEAST_MM, MOST_MM = 50.0, 2500.0


def is_body_sized(extent_mm: np.ndarray) -> bool:
    """Whether the longest of three sides is one that a CT of a human has."""
    return bool(LEAST_MM <= extent_mm.max() <= MOST_MM)

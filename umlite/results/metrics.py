"""How well two masks agree. Two empty masks have no Dice: it is NaN, and callers say how they treat that."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks of one shape: twice their overlap over the sum of their sizes.

    Returns:
        0 to 1, or NaN where both masks are empty.
    """
    return float(dice_of_counts(np.count_nonzero(a & b), np.count_nonzero(a), np.count_nonzero(b)))


def dice_of_counts(overlap: ArrayLike, a_voxels: ArrayLike, b_voxels: ArrayLike) -> NDArray[np.float64]:
    """Dice coefficients from counted voxels, element by element, for masks that are never held whole.

    Args:
        overlap: voxels that are in both masks.
        a_voxels, b_voxels: voxels of each mask.

    Returns:
        float64 of the arguments' shape, NaN where both masks are empty.
    """
    sizes = np.add(a_voxels, b_voxels, dtype=np.float64)
    return np.divide(np.multiply(2.0, overlap), sizes, out=np.full(sizes.shape, np.nan), where=sizes > 0)

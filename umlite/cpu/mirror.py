"""Structs that C and Python both declare, and the addresses in them."""

from __future__ import annotations

import ctypes
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.float32] | NDArray[np.float64]


class Mirror(ctypes.Structure):
    """A struct of the C sources, field by field. A test has the compiler compare every size and offset.

    `declared` is the file in `source/` and the struct's name there.
    """

    declared: ClassVar[tuple[str, str]]

    def point(self, **to: Array | Mirror | None) -> None:
        """Set pointers to arrays, and inner structs. This object keeps them alive, because C has only addresses.

        Raises ValueError on an array that is not float32 or has gaps.
        """
        for name, value in to.items():
            setattr(self, name, address(value) if isinstance(value, np.ndarray) else value)
        self.__dict__.setdefault("_held", []).append(to)


def address(array: Array, dtype: DTypeLike = np.float32, *, rows: bool = False) -> int:
    """The address of an array's first element.

    Args:
        array: contiguous.
        dtype: its dtype.
        rows: only the last axis has to be contiguous, because C knows the distances of the others.

    Raises:
        ValueError: another dtype, or gaps.
    """
    gaps = array.strides[-1] != array.itemsize if rows else not array.flags.c_contiguous
    if array.dtype != dtype or gaps:
        raise ValueError(
            f"Expected a contiguous {np.dtype(dtype)} array, found {array.dtype} with strides {array.strides}."
        )
    return array.ctypes.data

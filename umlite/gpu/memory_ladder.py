"""Computes windows in parts, and in smaller parts when a device's memory runs out, without losing finished ones."""

from __future__ import annotations

from collections.abc import Callable

from umlite.gpu.memory import is_out_of_memory
from umlite.progress import Notify

Compute = Callable[[int, int], None]


class MemoryLadder:
    """Halves the number of windows at a time whenever memory runs out, and stays at the number that fits.

    `fault` holds the message of the last such error.

    Args:
        most: windows at a time; None for the number that `choose` gives when the first windows come.
        choose: gives a number of windows.
        free: frees memory that can be filled again, before the next try.
        tell: gets a sentence for each step down.
    """

    def __init__(self, most: int | None, choose: Callable[[], int], free: Callable[[], None], tell: Notify) -> None:
        self.most, self.fault = most, ""
        self._choose, self._free, self._tell = choose, free, tell

    def run(self, count: int, compute: Compute) -> int:
        """Compute windows in parts, in order.

        A part is a power of two of windows, so few shapes are recorded or compiled and no window is computed only as
        padding. A part that does not fit is computed again in halves.

        Args:
            count: number of windows.
            compute: called with the first window of a part and the end of the part. It must change nothing if it raises
                for lack of memory.

        Returns:
            Number of windows done: fewer than `count` if a single window does not fit.
        """
        self.most = most = self.most or self._choose()
        done = 0
        while done < count:
            size = 1 << (min(most, count - done).bit_length() - 1)
            fault = _fault(compute, done, done + size)
            if not fault:
                done += size
                continue
            self.fault = fault
            self._free()
            if size == 1:
                break
            self.most = most = size // 2
            self._tell(f"The GPU's memory does not hold {size} windows: {most} at a time from now on.")
        return done


def _fault(compute: Compute, first: int, last: int) -> str:
    """Message of an error of memory; empty if there was none.

    This is a function of its own because the error keeps everything computed so far alive until it goes out of scope.
    """
    try:
        compute(first, last)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return " ".join(str(error).split())[:200] or type(error).__name__
    return ""

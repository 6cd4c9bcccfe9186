"""Windows a part at a time, and smaller parts where a device's memory runs out, with nothing lost."""

from __future__ import annotations

from collections.abc import Callable

from umlite.gpu.memory import is_out_of_memory
from umlite.progress import Notify

Compute = Callable[[int, int], None]


class MemoryLadder:
    """Goes down in steps of half the windows, and stays where it fits.

    most: windows at a time, None for what `choose` says when the first ones come. free: gives back what can be made
    again, before the next try. tell: gets a sentence for each step down. fault: what the last error of that kind said.
    """

    def __init__(self, most: int | None, choose: Callable[[], int], free: Callable[[], None], tell: Notify) -> None:
        self.most, self.fault = most, ""
        self._choose, self._free, self._tell = choose, free, tell

    def run(self, count: int, compute: Compute) -> int:
        """Call compute(first, last) for parts of `count` windows, in order; how many are done.

        A part is a power of two of windows: few shapes to record or compile, and none computed only to fill one up.
        A part that finds no memory is computed again by halves. Fewer than `count` are done when one alone finds none.
        compute: changes nothing where it raises for lack of memory.
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
            self._tell(f"The GPU's memory does not hold {size} windows: {most} at a time from here on.")
        return done


def _fault(compute: Compute, first: int, last: int) -> str:
    """What an error of memory said; empty where there was none.

    A function of its own: an error holds all that was computed so far, until it is left behind here.
    """
    try:
        compute(first, last)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return " ".join(str(error).split())[:200] or type(error).__name__
    return ""

"""A program: segments in processes that it starts in one of the ways of `multiprocessing`, and prints what they found.

python forked.py METHOD WEIGHTS SCAN
"""

from __future__ import annotations

import multiprocessing
import sys

from umlite import Segmenter
from umlite.errors import DeviceError

_segmenter: Segmenter | None = None


def inherited(scan: str) -> object:
    """With what the parent made, in a child that has it."""
    return None if _segmenter is None else _segmenter.segment(scan, "liver,spleen").voxels


def own(weights: str, scan: str) -> object:
    return Segmenter(weights, device="cpu").segment(scan, "liver,spleen").voxels


def own_on_two_threads(weights: str, scan: str) -> object:
    try:
        return Segmenter(weights, device="cpu", threads=2).segment(scan, "liver,spleen").voxels
    except DeviceError as error:
        return str(error)


def main(method: str, weights: str, scan: str) -> None:
    global _segmenter
    said: list[str] = []
    _segmenter = Segmenter(weights, device="cpu", threads=2, notify=said.append)
    alone = inherited(scan)
    with multiprocessing.get_context(method).Pool(2 if method == "fork" else 1) as pool:
        calls = [
            pool.apply_async(inherited, (scan,)),
            pool.apply_async(inherited, (scan,)),
            pool.apply_async(own, (weights, scan)),
            pool.apply_async(own_on_two_threads, (weights, scan)),
        ]
        found = [call.get(timeout=300) for call in calls]
    print("inherited", "none" if found[0] is None else found[:2] == [alone, alone])
    print("own", found[2] == alone)
    print("two threads", True if found[3] == alone else found[3])
    print("parent", inherited(scan) == alone, _segmenter.setup.threads)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])

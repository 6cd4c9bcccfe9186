"""What is asked of all scans of a run, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from umlite.products.wanted import Wanted
from umlite.request import Request


@dataclass(frozen=True)
class Orders:
    """What is asked of every scan, and which files may be replaced. It can be pickled.

    Args:
        request: what is asked of every scan whose job says nothing else.
        wanted: what is written of every result.
        overwrite: whether any existing results may be replaced.
        force: whether results are computed again that are there already; those of earlier runs may be replaced.
        verify_hashes: whether results that are there are read to tell whether they are unchanged.
        dedupe: whether scans with the same content are computed once, and the others' results are copies.
    """

    request: Request = field(default_factory=Request)
    wanted: Wanted = field(default_factory=Wanted)
    overwrite: bool = False
    force: bool = False
    verify_hashes: bool = False
    dedupe: bool = False

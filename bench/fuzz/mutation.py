"""Mutations that know nothing of a format: odd bytes anywhere, odd values anywhere in a tree of JSON."""

from __future__ import annotations

import copy
import random
import struct
from typing import Any

ODD_NUMBERS = (
    0,
    1,
    -1,
    2,
    7,
    255,
    2**16,
    2**31 - 1,
    2**31,
    2**32,
    2**62,
    2**63,
    2**64,
    10**9,
    10**12,
    10**30,
    -(2**63),
)
ODD_FLOATS = (0.5, -0.0, 3e38, 1e308, float("nan"), float("inf"), -float("inf"))
ODD_TEXTS = ("", "x" * 5000, "../../etc/passwd", "\x1b]0;title\x07", "a\nError: forged", "\ud800", "\0")
ODD_VALUES = (*ODD_NUMBERS, *ODD_FLOATS, *ODD_TEXTS, None, True, False, [], {}, [[]], [0] * 3, [1] * 2000)


def odd_bytes(rng: random.Random, data: bytes, most: int | None = None) -> bytes:
    """A copy with flipped, cut, doubled, removed and overwritten bytes, within the first `most`."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        at = rng.randrange(min(most or len(changed), len(changed)))
        kind = rng.randrange(12)
        if kind == 0:
            del changed[at:]
        elif kind == 1:
            changed[at:at] = changed[at : at + rng.randrange(100)]
        elif kind == 2:
            del changed[at : at + rng.randrange(100)]
        elif kind < 6:
            changed[at : at + 8] = struct.pack("<Q", rng.choice(ODD_NUMBERS) % 2**64)
        elif kind < 9:
            changed[at : at + 4] = struct.pack("<I", rng.choice(ODD_NUMBERS) % 2**32)
        else:
            changed[at : at + 1] = rng.randbytes(1)
        if not changed:
            break
    return bytes(changed)


def odd_tree(rng: random.Random, tree: Any) -> Any:
    """A copy of a JSON value in which one value is odd, missing, repeated or too many."""
    tree = copy.deepcopy(tree)
    place = tree
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
            place = place[key]
            continue
        kind = rng.random()
        if kind < 0.75:
            place[key] = rng.choice(ODD_VALUES)
        elif kind < 0.85:
            del place[key]
        elif isinstance(place, list):
            place *= rng.choice((2, 100))
        else:
            place[rng.choice(("", "surprise", "__class__", "kind"))] = rng.choice(ODD_VALUES)
        break
    return tree

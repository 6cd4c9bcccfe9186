"""How many voxels some windows touch, a cross-section at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from umlite.sweep.field import Field
from umlite.windows import Size


def count_touched(starts: Sequence[Size], window: Size, field: Field) -> int:
    """Voxels of the field's volume, its padding left out, that lie in at least one of these windows."""
    axis, side = field.axis, window[field.axis]
    inside = field.inside[axis]
    across = [a for a in range(3) if a != axis]
    edges = {
        min(max(edge, inside.start), inside.stop) for start in starts for edge in (start[axis], start[axis] + side)
    }
    count = 0
    for first, end in itertools.pairwise(sorted(edges)):
        section = np.zeros([field.shape[a] for a in across], np.bool_)
        for start in starts:
            if start[axis] <= first < start[axis] + side:
                u, v = (slice(start[a], start[a] + window[a]) for a in across)
                section[u, v] = True
        u, v = (field.inside[a] for a in across)
        count += (end - first) * int(np.count_nonzero(section[u, v]))
    return count

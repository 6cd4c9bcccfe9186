"""26-connected components of a mask that is read a few planes at a time."""

from __future__ import annotations

from collections.abc import Iterator

import cc3d
import numpy as np
import numpy.typing as npt

from umlite.masks.bitmask import Box

Labels = npt.NDArray[np.int32]


class Components:
    """Numbers the components of a mask that is read slab by slab along its last axis, in order.

    A slab's own labels are provisional: two of them turn out to be one component where a later slab joins them.
    `numbers` gives the final ones.
    """

    def __init__(self) -> None:
        self._parents: list[int] = [0]
        self._last: Labels = np.zeros((0, 0, 2), np.int32)
        self._corner = (0, 0)
        self._end = -1

    def add(self, mask: npt.NDArray[np.bool_], box: Box) -> tuple[Labels, Iterator[Stack]]:
        """Take the next piece of the mask.

        Args:
            mask: bool, the inside of `box`; the planes that `box` covers hold nothing outside it.
            box: its place. It may leave planes out, which are empty then.

        Returns:
            Provisional labels of `mask`'s shape, 0 outside, and the pieces with the planes before them: see `Stack`.
            These must be taken before the next call.
        """
        found, count = label_components(mask)
        labels = np.where(found > 0, found.astype(np.int32) + np.int32(len(self._parents) - 1), np.int32(0))
        self._parents.extend(range(len(self._parents), len(self._parents) + count))
        stacks = []
        x, y, z = box
        if self._end != z.start:
            stacks += list(self.finish())
        stack = self._stacked(labels, (x.start, y.start))
        self._join(stack.labels[:, :, 1], stack.labels[:, :, 2])
        self._last = stack.labels[1:-1, 1:-1, -2:].copy()
        self._corner = (stack.origin[0] + 1, stack.origin[1] + 1)
        self._end = z.stop
        stack = Stack(stack.labels, (*stack.origin[:2], z.start - 2))
        return labels, iter([*stacks, stack])

    def finish(self) -> Iterator[Stack]:
        """The last plane again, with an empty one behind it. Call it after all planes."""
        if self._last.any():
            x, y = self._corner
            stack = self._stacked(np.zeros((*self._last.shape[:2], 1), np.int32), (x, y))
            yield Stack(stack.labels, (*stack.origin[:2], self._end - 2))
        self._last = np.zeros((0, 0, 2), np.int32)

    def numbers(self) -> tuple[npt.NDArray[np.int64], int]:
        """The component, from 0 on, of every provisional label (that of label 0 means nothing), and how many there are.

        Components are numbered in the order in which they were met.
        """
        roots = np.array([self._root(label) for label in range(1, len(self._parents))], np.int64)
        distinct, numbers = np.unique(roots, return_inverse=True)
        return np.concatenate([[-1], numbers]), len(distinct)

    def _stacked(self, labels: Labels, corner: tuple[int, int]) -> Stack:
        """Labels behind the two last planes, in a frame of one empty voxel around both."""
        pieces = [(corner, labels)] + ([(self._corner, self._last)] if self._last.size else [])
        low = [min(c[a] for c, _ in pieces) for a in (0, 1)]
        high = [max(c[a] + p.shape[a] for c, p in pieces) for a in (0, 1)]
        out = np.zeros((high[0] - low[0] + 2, high[1] - low[1] + 2, labels.shape[2] + 2), np.int32)
        for (cx, cy), piece in pieces:
            x, y = cx - low[0] + 1, cy - low[1] + 1
            planes = slice(2, None) if piece is labels else slice(0, 2)
            out[x : x + piece.shape[0], y : y + piece.shape[1], planes] = piece
        return Stack(out, (low[0] - 1, low[1] - 1, 0))

    def _join(self, before: npt.NDArray[np.int32], after: npt.NDArray[np.int32]) -> None:
        """Join components that touch across two neighbouring planes, which both have an empty border."""
        inner = after[1:-1, 1:-1]
        if not before.any():
            return
        pairs: set[int] = set()
        for dx in range(3):
            for dy in range(3):
                other = before[dx : dx + inner.shape[0], dy : dy + inner.shape[1]]
                touch = (inner > 0) & (other > 0)
                joined = other[touch].astype(np.int64) << 32 | inner[touch]
                pairs.update(joined[np.flatnonzero(np.diff(joined, prepend=-1))].tolist())
        for pair in pairs:
            one, two = pair >> 32, pair & 0xFFFFFFFF
            a, b = sorted((self._root(one), self._root(two)))
            self._parents[b] = a

    def _root(self, label: int) -> int:
        parents = self._parents
        while parents[label] != label:
            parents[label] = parents[parents[label]]
            label = parents[label]
        return label


class Stack:
    """A piece of a mask's labels behind the two planes before it, with one empty voxel around it in X and Y.

    Args:
        labels: int32 [X + 2, Y + 2, 2 + planes], provisional, 0 outside the mask.
        origin: place of the first voxel in the whole; up to two planes before the whole begins.
    """

    def __init__(self, labels: Labels, origin: tuple[int, int, int]) -> None:
        self.labels, self.origin = labels, origin

    def surface_voxels(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Voxels with a face neighbour outside the mask, in the last plane before the piece and all but its last one.

        Taken over all stacks, every such voxel of the mask comes once.

        Returns:
            Their places in the whole, [n, 3], and their provisional labels, [n].
        """
        inside = self.labels > 0
        middle = inside[1:-1, 1:-1, 1:-1]
        buried = inside[1:-1, 1:-1, :-2] & inside[1:-1, 1:-1, 2:]
        buried &= inside[:-2, 1:-1, 1:-1] & inside[2:, 1:-1, 1:-1]
        buried &= inside[1:-1, :-2, 1:-1] & inside[1:-1, 2:, 1:-1]
        found = np.nonzero(middle & ~buried)
        places = np.stack(found, 1).astype(np.int32) + 1
        return places + np.array(self.origin, np.int32), self.labels[tuple(places.T)]


def label_components(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.unsignedinteger], int]:
    """Labels of 26-connected components of a mask [X, Y, Z], from 1 in memory order, and their number."""
    padded = mask
    if min(mask.shape) <= 3:
        # cc3d 4.1.1 reserves one label per four voxels. In a thin array of single voxels that is too few: it raises.
        padded = np.pad(mask, (0, 1))
    labels, count = cc3d.connected_components(padded, connectivity=26, return_N=True)
    x, y, z = mask.shape
    return labels[:x, :y, :z], int(count)

"""Weights as kernels read them: found in the cache, or made and kept there, or only made."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from umlite.cpu import buffers
from umlite.cpu.activation import Floats
from umlite.cpu.compiler import Notify
from umlite.cpu.packed_file import fill_packed, read_packed

SAID_FROM_BYTES = 128 << 20
"""Fewer are packed before anyone could read of it."""


def kept_weights(
    key: str,
    sizes: Mapping[str, int],
    fill: Callable[[str, Floats], None],
    *,
    keep: bool,
    notify: Notify | None,
) -> dict[str, Floats]:
    """Name -> flat float32 array.

    key: of everything that they depend on. sizes: floats of each, whole cache lines. fill: gets a name and its zeroed
    array, and writes its numbers. keep: look for them in the cache, and keep them there. notify: gets a sentence where
    many are made, and where they cannot be kept.
    """
    if keep and (found := read_packed(key)) is not None:
        return found
    if notify and 4 * sum(sizes.values()) >= SAID_FROM_BYTES:
        notify(f"Packing the weights for this processor{' (once, kept in the cache)' if keep else ''} ...")
    if keep:
        try:
            fill_packed(key, sizes, fill)
        except OSError as error:
            if notify:
                notify(f"Packed weights are not kept ({error.strerror or error}): made again at every start.")
        else:
            if found := read_packed(key):
                return found
    arrays = {name: buffers.zeros(size) for name, size in sizes.items()}
    for name, array in arrays.items():
        fill(name, array)
    return arrays

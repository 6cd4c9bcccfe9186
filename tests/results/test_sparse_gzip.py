"""Blocks and runs of zeros make one gzip that every reader unpacks to the same bytes."""

from __future__ import annotations

import gzip
import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umlite.results.sparse_gzip import SparseGzip

BLOCKS = st.lists(st.one_of(st.binary(max_size=300), st.integers(0, 70_000)), max_size=12)


def packed(blocks: list[bytes | int], level: int = 1) -> bytes:
    stream = io.BytesIO()
    writer = SparseGzip(stream, level)
    for block in blocks:
        if isinstance(block, int):
            writer.write_zeros(block)
        else:
            writer.write(block)
    writer.close()
    return stream.getvalue()


@settings(max_examples=60, deadline=None)
@given(BLOCKS, st.sampled_from([1, 6, 9]))
def test_unpacks_to_its_blocks(blocks: list[bytes | int], level: int) -> None:
    content = packed(blocks, level)
    expected = b"".join(bytes(block) for block in blocks)
    assert gzip.decompress(content) == expected
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert reader.decompress(content) == expected
    assert reader.eof
    assert not reader.unused_data  # one member: some readers stop after the first


def test_structure_around_zeros_survives() -> None:
    noise = np.random.default_rng(0).integers(0, 2, 100_000, dtype=np.uint8).tobytes()
    blocks: list[bytes | int] = [noise, 1 << 18, noise, noise, 1 << 18, 5, noise]
    assert gzip.decompress(packed(blocks)) == b"".join(bytes(block) for block in blocks)
    assert len(packed([1 << 18] * 100)) < 100 * 400


@pytest.mark.parametrize("damage", [0, 40, -5])
def test_damage_is_found(damage: int) -> None:
    content = bytearray(packed([b"abc" * 50, 1000, b"xyz" * 9]))
    content[damage] ^= 0x10
    with pytest.raises((OSError, EOFError, zlib.error)):
        gzip.decompress(bytes(content))

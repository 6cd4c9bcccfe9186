"""Gzips are unpacked as gzip does, in little memory, and damage is found."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from umlite.volume.unpacking import most_bytes, read_blocks

DATA = np.random.default_rng(0).integers(0, 50, 700_000).astype(np.uint8).tobytes() + bytes(9_000_000)


def unpacked(path: Path, content: bytes, limit: int | None = None) -> tuple[bytes, list[str]]:
    path.write_bytes(content)
    said: list[str] = []
    blocks = list(read_blocks(path, limit, said.append))
    assert max(map(len, blocks), default=0) <= 1 << 22
    return b"".join(blocks), said


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("limit", [None, 1, 540, 5_000_000, 10**9])
def test_all_or_the_beginning(pack: type, limit: int | None, tmp_path: Path) -> None:
    assert unpacked(tmp_path / "a", pack(DATA), limit) == (DATA[:limit], [])


def test_several_members_and_zeros_between(tmp_path: Path) -> None:
    content = gzip.compress(DATA) + bytes(700_000) + gzip.compress(b"more") + gzip.compress(b"") + bytes(3)
    assert unpacked(tmp_path / "a", content) == (DATA + b"more", [])
    assert len(DATA) < most_bytes(tmp_path / "a")


@pytest.mark.parametrize("behind", [b"x", b"\x1f", b"\0\0garbage", b"<html>" * 100_000])
def test_other_bytes_behind_a_whole_gzip_are_told(behind: bytes, tmp_path: Path) -> None:
    data, [sentence] = unpacked(tmp_path / "a", gzip.compress(DATA) + behind)
    assert data == DATA
    assert f"{len(behind.lstrip(bytes(1))):,} bytes behind the end of the gzip" in sentence


@pytest.mark.parametrize("cut", [3, 12, 1000, -9, -8, -1])
def test_a_cut_gzip(cut: int, tmp_path: Path) -> None:
    with pytest.raises(EOFError):
        unpacked(tmp_path / "a", gzip.compress(DATA)[:cut])


@pytest.mark.parametrize("place", [-1, -6, 3000])
def test_a_changed_gzip(place: int, tmp_path: Path) -> None:
    content = bytearray(gzip.compress(DATA))
    content[place] ^= 16
    with pytest.raises(zlib.error):
        unpacked(tmp_path / "a", bytes(content))

"""Packed weights between processes: mapped when sound, made again when not, bounded in size."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from cpu_layers import weights

from umlite.cpu import packed_file
from umlite.cpu.assembly import Assembly
from umlite.cpu.machine import Machine
from umlite.cpu.packed_file import read_packed, write_packed

RNG = np.random.default_rng(0)
ARRAYS = {"a": RNG.random(160, np.float32), "b": RNG.random(5000 * 16, np.float32)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path))
    return tmp_path / "packed"


def test_round_trip() -> None:
    assert read_packed("key") is None
    write_packed("key", ARRAYS)
    found = read_packed("key")
    assert found is not None
    assert found.keys() == ARRAYS.keys()
    assert all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)
    assert all(not array.flags.writeable and array.ctypes.data % 64 == 0 for array in found.values())


@pytest.mark.parametrize("place", [3, 20, 4100, -5000])
def test_a_changed_byte_is_noticed_and_the_file_goes(cache: Path, place: int) -> None:
    write_packed("key", ARRAYS)
    path = cache / "key.packed"
    content = bytearray(path.read_bytes())
    content[place] ^= 0x41
    path.write_bytes(content)
    assert read_packed("key") is None
    assert not path.exists()


@pytest.mark.parametrize("size", [0, 5, 4096, 9000])
def test_a_cut_file_is_noticed(cache: Path, size: int) -> None:
    write_packed("key", ARRAYS)
    path = cache / "key.packed"
    os.truncate(path, size)
    assert read_packed("key") is None


def test_the_oldest_files_go_where_the_folder_grows(cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(packed_file, "FOLDER_LIMIT_BYTES", 1 << 20)
    for number in range(5):
        write_packed(f"key{number}", ARRAYS)
        os.utime(cache / f"key{number}.packed", (number, number))
    assert sorted(path.name for path in cache.iterdir()) == ["key2.packed", "key3.packed", "key4.packed"]


def assembled(weight: np.ndarray, said: list[str] | None = None) -> np.ndarray:
    net = Assembly(Machine(1), notify=said.append if said is not None else None)
    x, y = net.tensor((5, 5, 5), 7), net.tensor((5, 5, 5), 9)
    x.data[..., :7] = np.random.default_rng(1).random((5, 5, 5, 7), np.float32)
    net.convolution("layer", weight, x, y)
    net.prepare()
    net.run()
    return y.data.copy()


def test_a_network_maps_what_another_packed(cache: Path, monkeypatch) -> None:
    rng = np.random.default_rng(2)
    weight = weights(rng, 9, 7, 3, 3, 3)
    first = assembled(weight)
    monkeypatch.setattr("umlite.cpu.assembly.pack", None)  # nothing may be packed again
    assert np.array_equal(assembled(weight), first)
    monkeypatch.undo()
    monkeypatch.setenv("UMLITE_CACHE", str(cache.parent))
    assert not np.array_equal(assembled(weight * np.float32(2)), first)
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_said(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    said: list[str] = []
    assembled(np.ones((9, 7, 3, 3, 3), np.float32), said)
    assert any("not kept" in line for line in said)

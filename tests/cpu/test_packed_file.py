"""Packed weights between processes: mapped when sound, made again when not, bounded in size."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from support.cpu_layers import weights
from umlite.cpu import packed_file
from umlite.cpu.assembly import Assembly
from umlite.cpu.packed_file import START_BYTES, fill_packed, read_packed
from umlite.errors import DeviceError
from umlite.machine.processor import Machine
from umlite.progress import no_notice

RNG = np.random.default_rng(0)
ARRAYS = {"a": RNG.random(160, np.float32), "b": RNG.random(5000 * 16, np.float32)}
SIZES = {name: array.size for name, array in ARRAYS.items()}


def write_packed(key: str, arrays: dict[str, np.ndarray]) -> None:
    sizes = {name: array.size for name, array in arrays.items()}
    fill_packed(key, sizes, lambda name, out: np.copyto(out, arrays[name]))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path))
    return tmp_path / "packed"


def test_round_trip() -> None:
    assert read_packed("key", SIZES) is None
    write_packed("key", ARRAYS)
    found = read_packed("key", SIZES)
    assert found is not None
    assert found.keys() == ARRAYS.keys()
    assert all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)
    assert all(not array.flags.writeable and array.ctypes.data % 64 == 0 for array in found.values())


@pytest.mark.parametrize("threads", [1, 3])
def test_every_single_bit_counts(cache: Path, threads: int) -> None:
    write_packed("key", ARRAYS)
    path = cache / "key.packed"
    whole = path.read_bytes()
    header = START_BYTES + int.from_bytes(whole[8:16], "little")
    first, second = 4096, 2 * 4096  # pages of the arrays
    used = [*range(header), *range(first, first + 4 * 160, 7), *range(second, second + 4 * 5000 * 16, 1009)]
    for place in used:
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        assert read_packed("key", SIZES, threads) is None, place
        assert not path.exists(), place
    path.write_bytes(whole)
    assert read_packed("key", SIZES, threads) is not None


def test_two_pages_that_change_places_are_noticed(cache: Path) -> None:
    """Their sum stays what it was."""
    write_packed("key", ARRAYS)
    path = cache / "key.packed"
    content = bytearray(path.read_bytes())
    one, two = slice(3 * 4096, 4 * 4096), slice(5 * 4096, 6 * 4096)
    content[one], content[two] = content[two], content[one]
    path.write_bytes(content)
    assert read_packed("key", SIZES) is None
    assert not path.exists()


@pytest.mark.parametrize(
    "sizes", [{"a": 160}, {**SIZES, "c": 16}, {"a": 176, "b": SIZES["b"]}, {"a": 160, "c": SIZES["b"]}]
)
def test_other_names_and_sizes_are_made_again(sizes: dict[str, int]) -> None:
    write_packed("key", ARRAYS)
    assert read_packed("key", sizes) is None


def test_the_file_of_another_key_is_not_taken(cache: Path) -> None:
    write_packed("other", ARRAYS)
    (cache / "other.packed").rename(cache / "key.packed")
    assert read_packed("key", SIZES) is None


@pytest.mark.parametrize("what", ["a pipe", "a folder", "of somebody else"])
def test_what_is_no_file_of_this_user_s_is_not_read(cache: Path, what: str) -> None:
    cache.mkdir()
    path = cache / "key.packed"
    if what == "a pipe":
        os.mkfifo(path)
    elif what == "a folder":
        path.mkdir()
    else:
        write_packed("key", ARRAYS)
        path.chmod(0o666)
    assert read_packed("key", SIZES) is None


def test_a_refused_mapping_is_told(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    write_packed("key", ARRAYS)
    monkeypatch.setattr(packed_file.mmap, "mmap", refuse)
    with pytest.raises(DeviceError, match=r"refused .* for packed weights"):
        read_packed("key", SIZES)


@pytest.mark.parametrize("size", [0, 5, 4096, 9000])
def test_a_cut_file_is_noticed(cache: Path, size: int) -> None:
    write_packed("key", ARRAYS)
    path = cache / "key.packed"
    os.truncate(path, size)
    assert read_packed("key", SIZES) is None


def test_the_oldest_files_go_where_the_folder_grows(cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(packed_file, "FOLDER_LIMIT_BYTES", 1 << 20)
    for number in range(5):
        write_packed(f"key{number}", ARRAYS)
        os.utime(cache / f"key{number}.packed", (number, number))
    assert sorted(path.name for path in cache.iterdir()) == ["key2.packed", "key3.packed", "key4.packed"]


def test_what_a_killed_process_left_is_counted_and_goes(cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(packed_file, "FOLDER_LIMIT_BYTES", 1 << 20)
    cache.mkdir()
    left = cache / ".0123456789ab.packed"
    left.write_bytes(bytes(1 << 20))
    os.utime(left, (1, 1))
    write_packed("key", ARRAYS)
    assert [path.name for path in cache.iterdir()] == ["key.packed"]


def test_several_processes_at_once(cache: Path) -> None:
    program = (
        "import numpy as np; from umlite.cpu.packed_file import fill_packed, read_packed\n"
        "for i in range(30):\n"
        "    arrays = {'a': np.full(1 << 16, i % 3, np.float32)}\n"
        "    fill_packed(f'key{i % 3}', {'a': 1 << 16}, lambda name, out: np.copyto(out, arrays[name]))\n"
        "    assert np.array_equal(read_packed(f'key{i % 3}', {'a': 1 << 16})['a'], arrays['a'])\n"
        "print('whole')"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program]
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: subprocess.run(command, env=environment, capture_output=True), range(3)))
    assert [run.stdout.strip() for run in done] == [b"whole"] * 3, done[0].stderr
    assert sorted(path.name for path in cache.iterdir()) == ["key0.packed", "key1.packed", "key2.packed"]


def assembled(weight: np.ndarray, said: list[str] | None = None) -> np.ndarray:
    net = Assembly(Machine(1), notify=no_notice if said is None else said.append)
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


def test_packing_many_is_said_once(monkeypatch) -> None:
    monkeypatch.setattr("umlite.cpu.packed_file.SAID_FROM_BYTES", 1)
    weight = weights(np.random.default_rng(4), 9, 7, 3, 3, 3)
    first: list[str] = []
    later: list[str] = []
    assembled(weight, first)
    assembled(weight, later)
    assert [line for line in first if "Packing" in line] == [
        "Packing the weights for this processor (once, kept in the cache) ..."
    ]
    assert not later


def test_a_cache_that_cannot_be_written_is_said(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    said: list[str] = []
    assembled(np.ones((9, 7, 3, 3, 3), np.float32), said)
    assert [line for line in said if "Nothing can be kept" in line] == said


def test_a_disk_that_fills_up_is_said_and_nothing_is_left(cache: Path) -> None:
    resource = pytest.importorskip("resource")
    weight = weights(np.random.default_rng(3), 9, 7, 3, 3, 3)
    said: list[str] = []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, limits[1]))  # writing beyond it fails, as on a full disk
    try:
        found = assembled(weight, said)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert any("can be kept" in line for line in said)
    assert not list(cache.iterdir())
    assert np.array_equal(found, assembled(weight))


def test_too_little_room_is_seen_before_anything_is_written(cache: Path, monkeypatch) -> None:
    usage = type("usage", (), {"free": 1 << 10})
    monkeypatch.setattr(packed_file.shutil, "disk_usage", lambda _: usage)
    said: list[str] = []
    assembled(np.ones((9, 7, 3, 3, 3), np.float32), said)
    assert any("too little room" in line for line in said)
    assert not list(cache.iterdir())

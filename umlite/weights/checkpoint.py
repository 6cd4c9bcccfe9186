"""PyTorch checkpoints (.pth): which tensors they hold, and their numbers, read one tensor at a time.

Both layouts of `torch.save` are read, the archive and the one of versions before 1.6. Memory and time are bounded by
the file's size before anything is taken: records must be stored plainly, and lie in the file with all that they claim.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from umlite.errors import WeightsError
from umlite.files import open_file
from umlite.weights.unpickling import DAMAGE, InertUnpickler, OtherTensor, StoredTensor

if TYPE_CHECKING:
    from torch import Tensor

CONTAINERS = ("net", "state_dict", "model_state_dict", "model", "network")
MOST_DEPTH = 8  # containers within containers
MOST_INDEX_BYTES = 4 << 20  # of a pickle, and of an archive's directory; a network of 200 classes needs a tenth
MOST_REPEATS = 2  # how often, on average, a file's bytes may be used: tensors can share memory
LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _UnusableError(Exception):
    """What no honest checkpoint has."""


@dataclass
class Checkpoint:
    """An open checkpoint. `tensors`: what it holds by name; `records`: first byte and bytes of each storage."""

    path: Path
    file: BinaryIO
    tensors: Mapping[str, StoredTensor | OtherTensor]
    records: Mapping[str, tuple[int, int]]
    budget: int = field(init=False)

    def __post_init__(self) -> None:
        self.budget = MOST_REPEATS * os.fstat(self.file.fileno()).st_size

    def read(self, tensor: StoredTensor) -> Tensor:
        """The numbers of `tensor`, in its own dtype. Raises WeightsError when they are not in the file."""
        import torch

        storage = tensor.storage
        start, size = self.records.get(storage.key, (0, -1))
        wanted = tensor.extent * storage.itemsize
        self.budget -= wanted
        if storage.count * storage.itemsize > size or self.budget < 0:
            raise WeightsError(f"{self.path} claims more numbers than it holds. It is damaged: download it again.")
        self.file.seek(start + tensor.offset * storage.itemsize)
        data = bytearray(self.file.read(wanted))
        if len(data) < wanted:
            raise WeightsError(f"{self.path} is cut short: download it again.")
        dtype = getattr(torch, storage.dtype)
        if not data:
            return torch.empty(tensor.shape, dtype=dtype)
        return torch.frombuffer(data, dtype=dtype).as_strided(tensor.shape, tensor.stride)


@contextmanager
def open_checkpoint(path: Path) -> Iterator[Checkpoint]:
    """Open the .pth file `path`. Raises WeightsError that says what it is instead; no code in it can run."""
    try:
        file = open_file(path)
    except FileNotFoundError as error:
        raise WeightsError(f"No such checkpoint: {path}.") from error
    except OSError as error:
        raise WeightsError(f"Cannot read {path}: {error.strerror or error}.") from error
    with file:
        yield Checkpoint(path, file, *_contents(file, path))


def _contents(file: BinaryIO, path: Path) -> tuple[dict[str, StoredTensor | OtherTensor], dict[str, tuple[int, int]]]:
    try:
        content, records = (_archive if file.read(4) == b"PK\3\4" else _legacy)(file)
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL ([\w.]{1,100})", str(error)):
            raise WeightsError(
                f"{path} holds more than tensors ({found[1]}), and reading that could run code: refused. "
                "Expected plain tensors. If you trust its source, save its state dict alone and convert that."
            ) from error
        raise WeightsError(f"{path} is not a PyTorch checkpoint, or it is damaged. Expected a .pth file.") from error
    except _UnusableError as error:
        raise WeightsError(f"Cannot read {path}: {error}. Expected a .pth file: download it again.") from error
    except (OSError, zipfile.BadZipFile, NotImplementedError, *DAMAGE) as error:
        raise WeightsError(
            f"{path} is not a PyTorch checkpoint, or it is cut short. Expected a .pth file: download it again."
        ) from error
    return _named(content, path), records


def _named(content: Any, path: Path) -> dict[str, StoredTensor | OtherTensor]:
    """The named tensors of a state dict, bare or within containers."""
    for _ in range(MOST_DEPTH):
        if inner := [content[k] for k in CONTAINERS if isinstance(content, dict) and isinstance(content.get(k), dict)]:
            content = inner[0]
    found = content.items() if isinstance(content, dict) else ()
    tensors = {name: value for name, value in found if isinstance(value, StoredTensor | OtherTensor)}
    if not tensors:
        raise WeightsError(
            f"{path} holds no named tensors. Expected a state dict, bare or under one of {', '.join(CONTAINERS)}."
        )
    return tensors


def _archive(file: BinaryIO) -> tuple[Any, dict[str, tuple[int, int]]]:
    """Content and records of the layout since PyTorch 1.6: a zip archive of a pickle and one file a storage."""
    if _directory_bytes(file) > MOST_INDEX_BYTES:
        raise _UnusableError("its archive has too many entries")
    entries = {entry.filename: entry for entry in zipfile.ZipFile(file).infolist()}
    (root,) = {name.removesuffix("data.pkl") for name in entries if re.fullmatch(r"[^/]*/data\.pkl", name)}
    start, size = _place(file, entries[f"{root}data.pkl"])
    if size > MOST_INDEX_BYTES:
        raise _UnusableError("the list of its tensors is too long")
    if order := entries.get(f"{root}byteorder"):
        file.seek(_place(file, order)[0])
        if file.read(3) == b"big":
            raise _UnusableError("its numbers are big-endian")
    file.seek(start)
    unpickler = InertUnpickler(io.BytesIO(file.read(size)))
    content = unpickler.load()
    records = {key: _place(file, entries[f"{root}data/{key}"]) for key in unpickler.storages}
    return content, records


def _directory_bytes(file: BinaryIO) -> int:
    """Size of a zip archive's directory, in either of the two forms that its end can have."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 98))
    tail = file.read().rjust(98, b"\0")
    sizes = [int.from_bytes(tail[88:92], "little")] if tail[76:80] == b"PK\5\6" else []
    if tail[56:60] == b"PK\6\7":
        sizes = [int.from_bytes(tail[40:48], "little")]
    if not sizes:
        raise ValueError("no end of an archive")
    return sizes[0]


def _place(file: BinaryIO, entry: zipfile.ZipInfo) -> tuple[int, int]:
    """First byte and bytes of an entry that is stored as it is. Raises _UnusableError on others."""
    file.seek(entry.header_offset)
    header = file.read(30)
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size != entry.compress_size:
        raise _UnusableError("its archive is packed")
    names = sum(struct.unpack("<HH", header[26:30]))
    return entry.header_offset + 30 + names, entry.file_size


def _legacy(file: BinaryIO) -> tuple[Any, dict[str, tuple[int, int]]]:
    """Content and records of the layout before PyTorch 1.6: five pickles, then the storages."""
    file.seek(0)
    pickles = io.BytesIO(file.read(MOST_INDEX_BYTES))
    if InertUnpickler(pickles).load() != LEGACY_MAGIC or InertUnpickler(pickles).load() != LEGACY_PROTOCOL:
        raise ValueError("another magic number")
    InertUnpickler(pickles).load()  # about the machine that wrote it
    unpickler = InertUnpickler(pickles)
    content, keys = unpickler.load(), InertUnpickler(pickles).load()
    records: dict[str, tuple[int, int]] = {}
    start = pickles.tell()
    for key in keys:
        file.seek(start)
        (count,) = struct.unpack("<q", file.read(8))
        records[key] = (start + 8, count * unpickler.storages[key].itemsize)
        start = sum(records[key])
    return content, records

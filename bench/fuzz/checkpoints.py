"""Hostile checkpoints of both layouts of torch.save: odd opcodes, odd numbers, odd archives, odd bytes."""

from __future__ import annotations

import functools
import io
import pickle
import pickletools
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from bench.fuzz.mutation import ODD_NUMBERS, odd_bytes
from bench.fuzz.weights import small_network, some_kind
from umlite.weights.conversion import PUBLISHED_ORDER, convert_checkpoint

PUBLISHED = {
    "generator.embedding": "organ_embedding",
    "generator.gap": "GAP",
    "generator.heads": "conv_final.2.conv",
    "generator.": "",
    "head_input": "precls_conv",
}
ODD_ENTRIES = ("other/data.pkl", "archive/data.pkl", "../archive/data/1", "archive/constants.pkl", "archive/data/x")


def checkpoint(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A checkpoint that is converted."""
    legacy, kind = rng.random() < 0.3, some_kind(rng)
    data = sound_checkpoint(legacy, kind)
    if legacy or rng.random() < 0.2:
        data = odd_bytes(rng, data, most=rng.choice((200, 20_000, len(data))))
    else:
        data = _odd_archive(rng, data)
    path = folder / "net.pth"
    path.write_bytes(data)
    return lambda: convert_checkpoint(path, folder / "net.safetensors", name="net", class_names=[PUBLISHED_ORDER])


@functools.cache
def sound_checkpoint(legacy: bool, kind: str) -> bytes:
    """A checkpoint with a network, and what else a training keeps."""
    state = {}
    for name, tensor in small_network(kind).state_dict().items():
        if kind == "segresnet":
            name = name.replace("head_input", "conv_final").removeprefix("backbone.")
        ours = next((start for start in PUBLISHED if name.startswith(start)), "")
        state[f"module.{PUBLISHED.get(ours, '')}{name.removeprefix(ours)}"] = tensor
    optimizer = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    buffer = io.BytesIO()
    content = {"net": state, "optimizer": optimizer, "epoch": 3}
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def _odd_archive(rng: random.Random, data: bytes) -> bytes:
    """The archive written anew, with an odd pickle or an odd entry."""
    source, buffer = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    entries = {entry.filename: source.read(entry) for entry in source.infolist()}
    odd = rng.choice([n for n in entries if n.endswith("data.pkl")] if rng.random() < 0.6 else list(entries))
    packed = rng.random() < 0.1
    with zipfile.ZipFile(buffer, "w") as target, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same name twice
        for name, content in entries.items():
            if name != odd:
                target.writestr(name, content)
            elif name.endswith("data.pkl"):
                target.writestr(name, _odd_pickle(rng, content), zipfile.ZIP_DEFLATED if packed else None)
            elif rng.random() < 0.9:
                content = rng.choice((b"", b"big", content[: len(content) // 2], content * 2, odd_bytes(rng, content)))
                name = rng.choice((name,) * 5 + ODD_ENTRIES)
                target.writestr(name, content, zipfile.ZIP_DEFLATED if packed else None)
    return odd_bytes(rng, buffer.getvalue()) if rng.random() < 0.1 else buffer.getvalue()


def _odd_pickle(rng: random.Random, content: bytes) -> bytes:
    """A pickle of which operations are exchanged, repeated or preceded by others."""
    starts = [at for _, _, at in pickletools.genops(content) if at is not None]
    parts = [content[at:end] for at, end in zip(starts, [*starts[1:], len(content)], strict=True)]
    numbers = [i for i, part in enumerate(parts) if part[:1] in (pickle.BININT1, pickle.BININT2, pickle.BININT)]
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(1, len(parts) - 1)
        kind = rng.randrange(5)
        if kind == 0:
            parts[at] = rng.choice(ODD_OPERATIONS)
        elif kind == 1:
            parts[at] = rng.choice(ODD_OPERATIONS) + parts[at]
        elif kind == 2:
            parts[at] += parts[rng.randrange(1, len(parts) - 1)]
        elif kind == 3:
            parts[rng.choice(numbers)] = _number(rng.choice(ODD_NUMBERS))
        else:
            parts[at] = odd_bytes(rng, parts[at])
    return b"".join(parts)


def _number(value: int) -> bytes:
    encoded = pickle.encode_long(value)
    return pickle.LONG1 + bytes([len(encoded)]) + encoded


def _called(name: bytes, argument: bytes) -> bytes:
    return pickle.GLOBAL + name + argument + pickle.TUPLE1 + pickle.REDUCE


ODD_OPERATIONS = (
    *map(_number, ODD_NUMBERS),
    _called(b"torch\nFloatTensor\n", _number(10**11)),
    _called(b"builtins\nbytearray\n", _number(10**12)),
    _called(b"_codecs\nencode\n", pickle.SHORT_BINUNICODE + b"\x01x" + pickle.SHORT_BINUNICODE + b"\x08punycode"),
    _called(b"posix\nsystem\n", pickle.SHORT_BINUNICODE + b"\x04true"),
    _called(b"torch._tensor\n_rebuild_from_type_v2\n", pickle.NONE),
    pickle.BYTEARRAY8 + struct.pack("<Q", 10**11),
    pickle.BINBYTES8 + struct.pack("<Q", 10**11),
    pickle.BINUNICODE + struct.pack("<I", 2**32 - 1),
    pickle.LONG_BINPUT + struct.pack("<I", 2**32 - 1),
    pickle.FRAME + struct.pack("<Q", 2**63),
    pickle.EMPTY_DICT * 1000,
    (pickle.MARK + pickle.EMPTY_TUPLE) * 1000,
    pickle.EMPTY_TUPLE + pickle.TUPLE1 * 5000,
    pickle.EMPTY_LIST + pickle.BINPUT + b"\xff" + pickle.BINGET + b"\xff" + pickle.APPEND,  # holds itself
    pickle.DUP,
    pickle.STOP,
)

TARGETS = {"checkpoint": checkpoint}

"""Hostile weights files: odd values in the model card, in the safetensors header and among the numbers."""

from __future__ import annotations

import copy
import functools
import json
import random
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.fuzz.mutation import ODD_FLOATS, ODD_TEXTS, odd_bytes, odd_tree
from umlite.kernels.implementations import REFERENCE
from umlite.models.config import HeadConfig, NetworkConfig, SegResNetConfig, SwinUNETRConfig, UNetConfig
from umlite.models.universal import UniversalModel
from umlite.weights.loading import load_model, save_model
from umlite.weights.model_card import KEY, ModelCard

DTYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F4", "I64", "U8", "BOOL", "C64", "X", "")


def card(rng: random.Random, _: Path) -> Callable[[], object]:
    """A model card with odd values."""
    text = _odd_card(rng, sound_weights(some_kind(rng))[1])
    return lambda: ModelCard.from_metadata({KEY: text})


def safetensors(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A weights file with an odd header, an odd card, odd numbers or odd bytes."""
    data, text = sound_weights(some_kind(rng))
    path = folder / "net.safetensors"
    if rng.random() < 0.4:
        path.write_bytes(odd_bytes(rng, data, most=rng.choice((8, 20_000, len(data)))))
    else:
        path.write_bytes(_odd_safetensors(rng, data, text))
    return lambda: load_model(path, REFERENCE)


def some_kind(rng: random.Random) -> str:
    """A backbone."""
    return rng.choice(("unet", "unet", "swin_unetr", "segresnet"))


@functools.cache
def small_network(kind: str) -> UniversalModel:
    """A narrow network of a backbone."""
    torch.manual_seed(0)
    if kind == "segresnet":
        return UniversalModel(NetworkConfig(SegResNetConfig(8, (1, 1, 1, 1)), HeadConfig.linear(25, 8)))
    swin = SwinUNETRConfig(16, heads=(2, 2, 4, 4), attention_window=3)
    head = HeadConfig(25, embedding_width=8, gap_width=16, task_width=8, hidden_width=0)
    return UniversalModel(NetworkConfig(swin if kind == "swin_unetr" else UNetConfig((16, 16, 16, 16)), head))


@functools.cache
def sound_weights(kind: str) -> tuple[bytes, str]:
    """A weights file, and the text of its card."""
    model = small_network(kind)
    about = ModelCard("net", model.config, tuple(f"class_{i}" for i in range(model.config.head.classes)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.safetensors"
        save_model(path, model.state_dict(), about)
        return path.read_bytes(), about.to_metadata()[KEY]


def _odd_card(rng: random.Random, text: str) -> str:
    tree = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 4))):
        tree = odd_tree(rng, tree)
    text = json.dumps(tree)
    if rng.random() < 0.1:
        text = rng.choice(("[" * 10**5, text[:-3], text + "]", text.replace("1", "1" * 5000), "null", '{"format":1}'))
    return text


def _odd_safetensors(rng: random.Random, data: bytes, text: str) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    for _ in range(rng.choice((1, 1, 2))):
        _change(rng, header, body, text)
    encoded = json.dumps(header).encode() + b" " * rng.choice((0, 7, 10**5))
    if rng.random() < 0.1:  # the same key twice
        encoded = encoded.replace(b"}", b', "shape": [1]}', 1)
    length = len(encoded) if rng.random() < 0.9 else rng.choice((0, 10**8, 2**40, 2**63))
    return struct.pack("<Q", length) + encoded + bytes(body)


def _change(rng: random.Random, header: dict[str, Any], body: bytearray, text: str) -> None:
    """One odd thing in a safetensors file taken apart."""
    names = [name for name, entry in header.items() if name != "__metadata__" and isinstance(entry, dict)]
    name, other = rng.choice(names), rng.choice(names)
    kind = rng.randrange(7)
    if kind == 0:
        header["__metadata__"] = {KEY: _odd_card(rng, text)}
    elif kind == 1:
        header[name] = odd_tree(rng, header[name])
    elif kind == 2:
        header[name]["dtype"] = rng.choice(DTYPES)
    elif kind == 3:  # two tensors in one place
        header[name] = copy.deepcopy(header[other])
    elif kind == 4:
        header[rng.choice((*ODD_TEXTS, "backbone.attic"))] = header.pop(name)
    elif kind == 5:
        header[name]["data_offsets"] = odd_tree(rng, header[other].get("data_offsets", []))
    else:
        at = rng.randrange(len(body) // 4) * 4
        body[at : at + 4] = struct.pack("<f", rng.choice([x for x in ODD_FLOATS if x != 1e308]))


TARGETS = {"card": card, "safetensors": safetensors}

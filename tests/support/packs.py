"""Packs of random classes for the small networks of tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from umlite.weights.loading import load_tensors
from umlite.weights.packs import Pack, PackCard, network_sha256, write_pack


def random_pack(weights: Path, classes: Sequence[str], seed: int = 0, **fields: object) -> Pack:
    """A pack that fits these weights, with heads whose logits take both signs."""
    tensors, card = load_tensors(weights)
    head, count = card.network.head, len(classes)
    random = torch.Generator().manual_seed(seed)
    weight = 0.1 * torch.randn(count, head.parameters, head.gap_width, generator=random)
    bias = 0.5 * torch.randn(count, head.parameters, generator=random)
    about = {"base": network_sha256(tensors), "base_name": card.name, "license": "CC BY 4.0", **fields}
    return Pack(PackCard(tuple(classes), **about), weight, bias)  # type: ignore[arg-type]


def saved_pack(folder: Path, weights: Path, classes: Sequence[str], **options: object) -> Path:
    """The same as a file, named after its first class."""
    path = folder / f"{classes[0]}.pack.safetensors"
    write_pack(path, random_pack(weights, classes, **options))  # type: ignore[arg-type]
    return path

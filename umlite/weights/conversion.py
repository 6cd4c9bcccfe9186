"""Published and SuPreM checkpoints (.pth), SegResNets of MONAI among them, to one weights file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from umlite.class_table import ClassTable
from umlite.classes import PUBLISHED
from umlite.errors import WeightsError
from umlite.files import file_sha256
from umlite.kernels.window_attention import relative_position_index
from umlite.models.config import NetworkConfig, SwinUNETRConfig
from umlite.weights.checkpoint import Checkpoint, open_checkpoint
from umlite.weights.loading import check_shapes, expected_tensors, save_model
from umlite.weights.model_card import ModelCard, Source
from umlite.weights.stored_tensors import MOST_FAULTS, plain
from umlite.weights.unpickling import OtherTensor, StoredTensor

WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
MOST_KEY = 500  # characters
PUBLISHED_ORDER = "published"
"""In place of class names: the first of the published classes, in their order."""
UNSTATED_LICENSE = "not stated (the published checkpoints are CC BY-NC-ND 4.0)"

# Published name -> ours; anything else belongs to the backbone, whose prefix Swin UNETR's keys leave out.
HEAD_NAMES = {
    "organ_embedding": "generator.embedding",
    "organ_embedding.weight": "generator.embedding",
    "GAP.": "generator.gap.",
    "controller.": "generator.controller.",
    "controllers.": "generator.controllers.",
    "text_to_vision.": "generator.text_to_vision.",
    "precls_conv.": "head_input.",
    "conv_final.0.": "head_input.0.",
    "conv_final.2.conv.": "generator.heads.",
}
# Stored, and never used by the network: statistics that its normalisation ignores, output layers the heads replace.
UNUSED = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$|^backbone\.(out_tr|out)\.")
POSITION_INDEX = "attn.relative_position_index"


@dataclass(frozen=True)
class Origin:
    """What a checkpoint does not say of itself: its licence, what it was trained on, where it came from."""

    license: str = UNSTATED_LICENSE
    training: str = ""
    url: str = ""


@dataclass(frozen=True)
class Conversion:
    """What a checkpoint became. `dropped`: its entries that the network does not use."""

    path: Path
    card: ModelCard
    dropped: tuple[str, ...]


UNKNOWN_ORIGIN = Origin()


def convert_checkpoint(
    checkpoint: Path,
    path: Path,
    *,
    name: str,
    class_names: Sequence[str] | None = None,
    origin: Origin = UNKNOWN_ORIGIN,
) -> Conversion:
    """Write the checkpoint's network to `path` (safetensors), in float32.

    class_names: in the order of the heads. By default the published 32, or the first 25 of them (SuPreM). Those of a
    SegResNet must be given, or `[PUBLISHED_ORDER]` to say that they are the first of the published ones.
    Raises WeightsError when the file is no checkpoint of such a network, OutputError when `path` cannot be written.
    """
    with open_checkpoint(checkpoint) as stored:
        tensors, dropped = published_tensors(stored.tensors, checkpoint)
        config = NetworkConfig.from_shapes({n: t.shape for n, t in tensors.items()})
        names = _class_names(class_names, config)
        check_shapes(expected_tensors(config), tensors, checkpoint)
        _check_position_index({n: t for n, t in dropped.items() if n.endswith(POSITION_INDEX)}, config, stored)
        numbers = {n: stored.read(t).to(torch.float32, copy=True) for n, t in tensors.items()}
    source = Source(checkpoint.name, file_sha256(checkpoint), origin.url)
    card = ModelCard(name, config, names, license=origin.license, training=origin.training, source=source)
    save_model(path, numbers, card)
    return Conversion(path, card, tuple(sorted(dropped)))


def published_tensors(
    stored: Mapping[str, StoredTensor | OtherTensor], path: Path
) -> tuple[dict[str, StoredTensor], dict[str, StoredTensor]]:
    """Stored entries -> those of the network under our names, and those it does not use under their bare names.

    Prefixes of wrappers (data parallel, compile, Lightning) go, however many; `backbone.` is put where it is left out.
    """
    tensors: dict[str, StoredTensor] = {}
    dropped: dict[str, StoredTensor] = {}
    for key, tensor in stored.items():
        if len(key) > MOST_KEY:
            raise WeightsError(f"{path} holds a tensor whose name has {len(key)} characters. It is damaged.")
        name = _our_name(key)
        if isinstance(tensor, OtherTensor):
            raise WeightsError(f"{path} holds {plain(name)}, which is not a dense tensor of numbers.")
        kept = dropped if UNUSED.search(name) or name.endswith(POSITION_INDEX) else tensors
        if name in kept:
            raise WeightsError(
                f"{path} holds {plain(name)} twice, under different prefixes. Expected one network in the file."
            )
        kept[name] = tensor
    return tensors, dropped


def _our_name(key: str) -> str:
    while wrapper := next((w for w in WRAPPERS if key.startswith(w)), None):
        key = key.removeprefix(wrapper)
    bare = key.removeprefix("backbone.")
    for published, ours in HEAD_NAMES.items():
        if bare == published or (published.endswith(".") and bare.startswith(published)):
            return ours + bare[len(published) :]
    return f"backbone.{bare}"


def _check_position_index(stored: Mapping[str, StoredTensor], config: NetworkConfig, checkpoint: Checkpoint) -> None:
    """The stored index must be the one this network computes, or the bias table means something else."""
    if not stored or not isinstance(config.backbone, SwinUNETRConfig):
        return
    index = relative_position_index(config.backbone.attention_window)
    wrong = [n for n, t in stored.items() if t.shape != index.shape or not torch.equal(checkpoint.read(t), index)]
    if wrong:
        raise WeightsError(
            f"{checkpoint.path} indexes its relative positions in another way than Swin UNETR does: "
            f"{', '.join(map(plain, wrong[:MOST_FAULTS]))}."
        )


def _class_names(given: Sequence[str] | None, network: NetworkConfig) -> tuple[str, ...]:
    count = network.head.classes
    first = [c.name for c in PUBLISHED[:count]]
    if given is None and network.head.generator == "linear":
        raise WeightsError(
            f"The checkpoint is a {network.backbone.kind} of {count} classes and does not say which. Data sets order "
            "the same organs differently, and a wrong order puts one organ's name on another. Give all "
            f"{count} names in the order of its outputs; or {PUBLISHED_ORDER!r} alone, if you know that its order is "
            f"that of the Universal Model: {', '.join(first[:4])}, ...",
            about="class_names",
        )
    if given is None or list(given) == [PUBLISHED_ORDER]:
        if count not in (25, len(PUBLISHED)):
            raise WeightsError(
                f"The checkpoint holds {count} classes, and names are known for 25 and {len(PUBLISHED)}. "
                f"Give all {count} names in the order of its heads.",
                about="class_names",
            )
        given = first
    if len(given) != count:
        raise WeightsError(
            f"The checkpoint holds {count} classes, but {len(given)} names were given.", about="class_names"
        )
    return ClassTable(given).names

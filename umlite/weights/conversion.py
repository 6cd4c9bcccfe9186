"""Published and SuPreM checkpoints (.pth) to one weights file."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from umlite.classes import PUBLISHED, ClassTable
from umlite.errors import WeightsError
from umlite.files import file_sha256
from umlite.kernels.window_attention import relative_position_index
from umlite.models.config import NetworkConfig, SwinUNETRConfig
from umlite.weights.loading import save_model
from umlite.weights.model_card import ModelCard, Source

CONTAINERS = ("net", "state_dict", "model_state_dict", "model", "network")
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
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
}
# Stored, and never used by the network: statistics that its normalisation ignores, output layers the heads replace.
UNUSED = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$|^backbone\.(out_tr|out)\.")
POSITION_INDEX = "attn.relative_position_index"


@dataclass(frozen=True)
class Conversion:
    """What a checkpoint became. `dropped`: its entries that the network does not use."""

    path: Path
    card: ModelCard
    dropped: tuple[str, ...]


def convert_checkpoint(
    checkpoint: Path,
    path: Path,
    *,
    name: str,
    class_names: Sequence[str] | None = None,
    license: str = UNSTATED_LICENSE,
    url: str = "",
) -> Conversion:
    """Write the checkpoint's network to `path` (safetensors), in float32.

    class_names: in the order of the heads. By default the published 32, or the first 25 of them (SuPreM).
    Raises WeightsError when the file is no checkpoint of a Universal Model, OutputError when `path` cannot be written.
    """
    tensors, dropped = published_tensors(read_checkpoint(checkpoint), checkpoint)
    config = NetworkConfig.from_shapes({n: tuple(t.shape) for n, t in tensors.items()})
    _check_position_index(dropped, config, checkpoint)
    names = _class_names(class_names, config.head.classes)
    source = Source(checkpoint.name, file_sha256(checkpoint), url)
    card = ModelCard(name, config, names, license=license, source=source)
    save_model(path, {n: t.to(torch.float32, copy=True) for n, t in tensors.items()}, card)
    return Conversion(path, card, tuple(sorted(dropped)))


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The named tensors of a .pth file, read with `weights_only=True`: no code in it can run.

    Raises WeightsError that says what the file is instead.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"No such checkpoint: {path}.") from error
    except OSError as error:
        raise WeightsError(f"Cannot read {path}: {error.strerror or error}.") from error
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise WeightsError(
                f"{path} holds more than tensors ({found[1]}), and reading that could run code: refused. "
                "Expected plain tensors. If you trust its source, save its state dict alone and convert that."
            ) from error
        raise WeightsError(f"{path} is not a PyTorch checkpoint, or it is damaged. Expected a .pth file.") from error
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, struct.error) as error:
        raise WeightsError(
            f"{path} is not a PyTorch checkpoint, or it is cut short. Expected a .pth file: download it again."
        ) from error
    while isinstance(loaded, Mapping) and (key := next((k for k in CONTAINERS if _is_mapping(loaded, k)), None)):
        loaded = loaded[key]
    tensors = {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)} if isinstance(loaded, Mapping) else {}
    if not tensors:
        raise WeightsError(
            f"{path} holds no named tensors. Expected a state dict, bare or under one of {', '.join(CONTAINERS)}."
        )
    return tensors


def published_tensors(stored: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Stored entries -> those of the network under our names, and those it does not use under their bare names.

    Prefixes of wrappers (data parallel, compile, Lightning) go, however many; `backbone.` is put where it is left out.
    """
    tensors: dict[str, Tensor] = {}
    dropped: dict[str, Tensor] = {}
    for key, tensor in stored.items():
        name = _our_name(key)
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_complex():
            raise WeightsError(f"{path} holds {name} as no plain tensor. Expected numbers in dense tensors.")
        kept = dropped if UNUSED.search(name) or name.endswith(POSITION_INDEX) else tensors
        if name in kept:
            raise WeightsError(
                f"{path} holds {name} twice, under different prefixes. Expected one network in the file."
            )
        kept[name] = tensor
    return tensors, dropped


def _our_name(key: str) -> str:
    while wrapper := next((w for w in WRAPPERS if key.startswith(w)), None):
        key = key.removeprefix(wrapper)
    for published, ours in HEAD_NAMES.items():
        if key == published or (published.endswith(".") and key.startswith(published)):
            return ours + key[len(published) :]
    return key if key.startswith("backbone.") else f"backbone.{key}"


def _is_mapping(loaded: Mapping[str, object], key: str) -> bool:
    return isinstance(loaded.get(key), Mapping)


def _check_position_index(dropped: Mapping[str, Tensor], config: NetworkConfig, path: Path) -> None:
    """The stored index must be the one this network computes, or the bias table means something else."""
    stored = {n: t for n, t in dropped.items() if n.endswith(POSITION_INDEX)}
    if not stored or not isinstance(config.backbone, SwinUNETRConfig):
        return
    index = relative_position_index(config.backbone.attention_window)
    if wrong := [n for n, t in stored.items() if not torch.equal(t, index)]:
        raise WeightsError(
            f"{path} indexes its relative positions in another way than Swin UNETR does: {', '.join(wrong)}."
        )


def _class_names(given: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if given is None:
        if count not in (25, len(PUBLISHED)):
            raise WeightsError(
                f"The checkpoint holds {count} classes, and names are known for 25 and {len(PUBLISHED)}. "
                f"Give all {count} in the order of its heads with --class-names a,b,c."
            )
        given = [c.name for c in PUBLISHED[:count]]
    if len(given) != count:
        raise WeightsError(f"The checkpoint holds {count} classes, but --class-names gives {len(given)}.")
    return ClassTable(given).names

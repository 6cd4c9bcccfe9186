"""Weights files in and out: safetensors with a model card, every tensor accounted for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from umlite.errors import WeightsError
from umlite.weights.model_card import ModelCard
from umlite.weights.packs import card_with, read_pack, read_pack_card, with_packs
from umlite.weights.stored_tensors import check_finite, opened, plain, raise_faults, write_tensors

if TYPE_CHECKING:
    from safetensors import safe_open
    from torch import Tensor

    from umlite.kernels.implementations import KernelSet
    from umlite.models.config import NetworkConfig
    from umlite.models.universal import UniversalModel


class Described(Protocol):
    """A tensor, or what is known of one before it is read."""

    @property
    def shape(self) -> Sequence[int]: ...

    def is_floating_point(self) -> bool: ...


@dataclass(frozen=True)
class _Entry:
    """A tensor of a safetensors file."""

    shape: list[int]
    dtype: str

    def is_floating_point(self) -> bool:
        return self.dtype in ("F64", "F32", "F16", "BF16")


def read_card(path: Path, packs: Sequence[Path] = ()) -> ModelCard:
    """The model card alone, without torch. Raises WeightsError when the file is missing, damaged or not umlite's.

    packs: files whose classes the card names too; whether they fit the network is not looked at here.
    """
    with opened(path, "np") as file:
        card = _card(file, path)
    if packs:
        return card_with(card, [read_pack_card(pack) for pack in packs], str(path))
    return card


def count_parameters(path: Path) -> int:
    """Numbers in a weights file, without reading them. Raises WeightsError as `read_card` does."""
    with opened(path, "np") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def load_model(path: Path, kernels: KernelSet, packs: Sequence[Path] = ()) -> tuple[UniversalModel, ModelCard]:
    """The network in float32 on the CPU, in evaluation mode, with every parameter from the file.

    packs: files of classes that are added to it (`umlite.weights.packs`).
    Raises WeightsError that lists missing, unexpected and misshapen tensors, before any is read.
    """
    import torch

    from umlite.models.universal import UniversalModel

    tensors, card = load_tensors(path)
    if packs:
        tensors, card = with_packs(tensors, card, [read_pack(pack) for pack in packs], str(path))
    with torch.device("meta"):
        model = UniversalModel(card.network, kernels)
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(False), card


def load_tensors(path: Path) -> tuple[dict[str, Tensor], ModelCard]:
    """Every tensor of a weights file in float32, by name, and its card. Raises WeightsError as `load_model`."""
    import torch

    with opened(path, "pt") as file:
        card = _card(file, path)
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        found = {name: _Entry(one.get_shape(), one.get_dtype()) for name, one in slices.items()}
        check_shapes(expected_tensors(card.network), found, path)
        # Copies: torch aligns them, and where a tensor happens to lie in a file would change the last bits of results.
        tensors = {name: file.get_tensor(name).to(torch.float32, copy=True) for name in found}
    check_finite(tensors, path)
    return tensors, card


def save_model(path: Path, tensors: Mapping[str, Tensor], card: ModelCard, *, overwrite: bool = True) -> None:
    """Write `tensors` (names as in UniversalModel's state dict) and `card`, whole or not at all.

    Raises WeightsError when they do not fit each other, OutputError when the file cannot be written.
    """
    check_shapes(expected_tensors(card.network), tensors, path)
    check_finite(tensors, path)
    write_tensors(path, tensors, card.to_metadata(), overwrite=overwrite)


def expected_tensors(network: NetworkConfig) -> dict[str, Tensor]:
    """Name and shape of every tensor of a network, without numbers."""
    import torch

    from umlite.models.universal import UniversalModel

    with torch.device("meta"):
        return UniversalModel(network).state_dict()


def check_shapes(expected: Mapping[str, Described], found: Mapping[str, Described], path: Path) -> None:
    """Raise one WeightsError that lists missing, unexpected and misshapen tensors."""
    faults = [f"missing {name} {list(expected[name].shape)}" for name in expected if name not in found]
    faults += [f"unexpected {plain(name)} {list(found[name].shape)}" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        if tuple(found[name].shape) != tuple(expected[name].shape):
            faults.append(f"{name} is {list(found[name].shape)}, expected {list(expected[name].shape)}")
        elif not found[name].is_floating_point():
            faults.append(f"{name} does not hold floating point numbers")
    raise_faults(faults, path)


def _card(file: safe_open, path: Path) -> ModelCard:
    try:
        return ModelCard.from_metadata(file.metadata())
    except WeightsError as error:
        raise WeightsError(f"Cannot use {path}: {error}") from error

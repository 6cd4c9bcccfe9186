"""Weights files in and out: safetensors with a model card, every tensor accounted for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from umlite.errors import WeightsError
from umlite.files import make_folder, replacing
from umlite.weights.model_card import ModelCard

if TYPE_CHECKING:
    from torch import Tensor

    from umlite.kernels.implementations import KernelSet
    from umlite.models.universal import UniversalModel


def read_card(path: Path) -> ModelCard:
    """The model card alone, without torch. Raises WeightsError when the file is missing, damaged or not umlite's."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return ModelCard.from_metadata(file.metadata())
    except WeightsError as error:
        raise WeightsError(f"Cannot use {path}: {error}") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(_unreadable(path, error)) from error


def load_model(path: Path, kernels: KernelSet) -> tuple[UniversalModel, ModelCard]:
    """The network in float32 on the CPU, in evaluation mode, with every parameter from the file.

    Raises WeightsError that lists all missing, unexpected and misshapen tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from umlite.models.universal import UniversalModel

    card = read_card(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(_unreadable(path, error)) from error
    with torch.device("meta"):
        model = UniversalModel(card.network, kernels)
    check_tensors(model.state_dict(), tensors, path)
    # A copy each: torch aligns it, and where a tensor happens to lie in a file would change the last bits of results.
    copies = {name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}
    model.load_state_dict(copies, assign=True)
    return model.eval().requires_grad_(False), card


def save_model(path: Path, tensors: Mapping[str, Tensor], card: ModelCard) -> None:
    """Write `tensors` (names as in UniversalModel's state dict) and `card`, whole or not at all.

    Raises WeightsError when they do not fit each other, OutputError when the file cannot be written.
    """
    import torch
    from safetensors.torch import save_file

    from umlite.models.universal import UniversalModel

    with torch.device("meta"):
        expected = UniversalModel(card.network).state_dict()
    check_tensors(expected, tensors, path)
    make_folder(path.parent)
    with replacing(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, card.to_metadata())


def check_tensors(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """Raise one WeightsError with every missing, unexpected and misshapen tensor and every one that is not finite."""
    faults = [f"missing {name} {list(expected[name].shape)}" for name in expected if name not in found]
    faults += [f"unexpected {name} {list(found[name].shape)}" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        if found[name].shape != expected[name].shape:
            faults.append(f"{name} is {list(found[name].shape)}, expected {list(expected[name].shape)}")
        elif not found[name].is_floating_point():
            faults.append(f"{name} is {found[name].dtype}, expected floating point")
        elif not _finite(found[name]):
            faults.append(f"{name} holds NaN or infinite numbers")
    if faults:
        raise WeightsError(
            f"{path} does not fit the Universal Model, {len(faults)} faults:\n  " + "\n  ".join(sorted(faults))
        )


def _finite(tensor: Tensor) -> bool:
    """Whether every number is: a finite sum tells at a sixth of the cost, one that is not may have overflowed."""
    return bool(tensor.sum().isfinite() or tensor.isfinite().all())


def _unreadable(path: Path, error: Exception) -> str:
    if not os.path.exists(path):
        return f"No weights file {path}. `umlite weights list` shows what is installed."
    if os.path.isdir(path):
        return f"Expected a weights file (.safetensors), found the folder {path}."
    if path.suffix in (".pth", ".pt", ".ckpt", ".bin"):
        return f"{path} is a PyTorch checkpoint. Convert it first: `umlite weights convert {path}`."
    return (
        f"Cannot read {path} as safetensors ({error}). It is damaged, cut short or of another kind: "
        "convert or download it again."
    )

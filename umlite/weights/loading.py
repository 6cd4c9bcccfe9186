"""Weights files in and out: safetensors with a model card, every tensor accounted for."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from umlite.errors import WeightsError
from umlite.files import make_folder, open_file
from umlite.outputs.file_set import replacing
from umlite.weights.model_card import ModelCard

if TYPE_CHECKING:
    from safetensors import safe_open
    from torch import Tensor

    from umlite.kernels.implementations import KernelSet
    from umlite.models.config import NetworkConfig
    from umlite.models.universal import UniversalModel

MOST_HEADER_BYTES = 16 << 20  # a thousand classes of the per-class variant need half a megabyte
MOST_FAULTS = 60  # listed in a message


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


def read_card(path: Path) -> ModelCard:
    """The model card alone, without torch. Raises WeightsError when the file is missing, damaged or not umlite's."""
    with _opened(path, "np") as file:
        return _card(file, path)


def count_parameters(path: Path) -> int:
    """Numbers in a weights file, without reading them. Raises WeightsError as `read_card` does."""
    with _opened(path, "np") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def load_model(path: Path, kernels: KernelSet) -> tuple[UniversalModel, ModelCard]:
    """The network in float32 on the CPU, in evaluation mode, with every parameter from the file.

    Raises WeightsError that lists missing, unexpected and misshapen tensors, before any is read.
    """
    import torch

    from umlite.models.universal import UniversalModel

    with _opened(path, "pt") as file:
        card = _card(file, path)
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        found = {name: _Entry(one.get_shape(), one.get_dtype()) for name, one in slices.items()}
        with torch.device("meta"):
            model = UniversalModel(card.network, kernels)
        check_shapes(model.state_dict(), found, path)
        # Copies: torch aligns them, and where a tensor happens to lie in a file would change the last bits of results.
        tensors = {name: file.get_tensor(name).to(torch.float32, copy=True) for name in found}
    check_finite(tensors, path)
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(False), card


def save_model(path: Path, tensors: Mapping[str, Tensor], card: ModelCard) -> None:
    """Write `tensors` (names as in UniversalModel's state dict) and `card`, whole or not at all.

    Raises WeightsError when they do not fit each other, OutputError when the file cannot be written.
    """
    from safetensors.torch import save_file

    check_shapes(expected_tensors(card.network), tensors, path)
    check_finite(tensors, path)
    make_folder(path.parent)
    with replacing(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, card.to_metadata())


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
    _raise_faults(faults, path)


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise one WeightsError that lists the tensors that hold NaN or infinity."""
    _raise_faults([f"{name} holds NaN or infinite numbers" for name in tensors if not _finite(tensors[name])], path)


def plain(name: str) -> str:
    """A name from a file as a message can show it: short, without control characters."""
    return name if name.isprintable() and len(name) <= 200 else ascii(name[:200])


def _raise_faults(faults: list[str], path: Path) -> None:
    if not faults:
        return
    shown = sorted(faults)[:MOST_FAULTS]
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown)} more")
    raise WeightsError(f"{path} does not fit the Universal Model, {len(faults)} faults:\n  " + "\n  ".join(shown))


def _finite(tensor: Tensor) -> bool:
    """Whether every number is: a finite sum tells at a sixth of the cost, one that is not may have overflowed."""
    return bool(tensor.sum().isfinite() or tensor.isfinite().all())


@contextmanager
def _opened(path: Path, framework: str) -> Iterator[safe_open]:
    """An open safetensors file. Its header is bounded before it is read, and it is a file, no pipe."""
    from safetensors import SafetensorError, safe_open

    try:
        with open_file(path) as raw:
            length = int.from_bytes(raw.read(8), "little")
            if length > MOST_HEADER_BYTES:
                raise OSError(f"its header would have {length} bytes")
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(_unreadable(path, error)) from error


def _card(file: safe_open, path: Path) -> ModelCard:
    try:
        return ModelCard.from_metadata(file.metadata())
    except WeightsError as error:
        raise WeightsError(f"Cannot use {path}: {error}") from error


def _unreadable(path: Path, error: Exception) -> str:
    if not os.path.exists(path):
        return f"No weights file {path}. `umlite weights list` shows what is installed."
    if os.path.isdir(path):
        return f"Expected a weights file (.safetensors), found the folder {path}."
    if not os.path.isfile(path):
        return f"Expected a weights file (.safetensors), found a pipe or a device: {path}."
    if path.suffix in (".pth", ".pt", ".ckpt", ".bin"):
        return f"{path} is a PyTorch checkpoint. Convert it first: `umlite weights convert {path}`."
    return (
        f"Cannot read {path} as safetensors ({error}). It is damaged, cut short or of another kind: "
        "convert or download it again."
    )

"""safetensors files: opened with bounds, their faults in one message, written whole."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from umlite.errors import WeightsError
from umlite.files import make_folder, open_file
from umlite.outputs.file_set import replacing

if TYPE_CHECKING:
    from safetensors import safe_open
    from torch import Tensor

MOST_HEADER_BYTES = 16 << 20  # a thousand classes of the per-class variant need half a megabyte
WEIGHTS, PACK = "weights file", "pack"
MOST_FAULTS = 60  # listed in a message


@contextmanager
def opened(path: Path, framework: str, what: str = WEIGHTS) -> Iterator[safe_open]:
    """An open safetensors file. Its header is bounded before it is read, and it is a file, no pipe.

    what: kind of file, for messages: `WEIGHTS` or `PACK`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with open_file(path) as raw:
            length = int.from_bytes(raw.read(8), "little")
            if length > MOST_HEADER_BYTES:
                raise OSError(f"its header would have {length} bytes")
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(_unreadable(path, error, what)) from error


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str], *, overwrite: bool = True
) -> None:
    """Write a safetensors file, whole or not at all. Raises OutputError where the system refuses."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    make_folder(path.parent)
    with replacing(path, overwrite=overwrite) as temporary:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)
        except SafetensorError as error:
            number = re.search(r"\(os error (\d+)\)", str(error))  # what the system said, in words of the library
            raise OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error)) from error


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise one WeightsError that lists the tensors that hold NaN or infinity."""
    raise_faults([f"{name} holds NaN or infinite numbers" for name in tensors if not _finite(tensors[name])], path)


def raise_faults(faults: list[str], path: Path) -> None:
    """Raise one WeightsError that lists them, if there are any."""
    if not faults:
        return
    shown = sorted(faults)[:MOST_FAULTS]
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown)} more")
    raise WeightsError(f"{path} does not fit the Universal Model, {len(faults)} faults:\n  " + "\n  ".join(shown))


def plain(name: str) -> str:
    """A name from a file as a message can show it: short, without control characters."""
    return name if name.isprintable() and len(name) <= 200 else ascii(name[:200])


def _finite(tensor: Tensor) -> bool:
    """Whether every number is: a finite sum tells at a sixth of the cost, one that is not may have overflowed."""
    return bool(tensor.sum().isfinite() or tensor.isfinite().all())


def _unreadable(path: Path, error: Exception, what: str) -> str:
    if not os.path.exists(path):
        installed = "`umlite weights list` shows what is installed."
        return f"No {what} {path}. " + (installed if what == WEIGHTS else "Name a file that `umlite extend` wrote.")
    if os.path.isdir(path):
        return f"Expected a {what} (.safetensors), found the folder {path}."
    if not os.path.isfile(path):
        return f"Expected a {what} (.safetensors), found a pipe or a device: {path}."
    if path.suffix in (".pth", ".pt", ".ckpt", ".bin"):
        return f"{path} is a PyTorch checkpoint. Convert it first: `umlite weights convert {path}`."
    return (
        f"Cannot read {path} as safetensors ({error}). It is damaged, cut short or of another kind: "
        "convert or download it again."
    )

"""The checkpoint of a training run: written whole or not at all, and read without running code from it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from umlite.errors import InputError
from umlite.outputs.file_set import replacing

CHECKPOINT = "checkpoint.pt"


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint in `folder`. Raises OutputError when the system refuses."""
    with replacing(folder / CHECKPOINT) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch hides what the system refused while its archive is written
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The state that `write_checkpoint` wrote. Raises InputError when the file is missing or damaged."""
    path = folder / CHECKPOINT
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"Cannot read {path} as a checkpoint of a training run. Name the folder of a run.") from error
    return state


def averaged_weights(folder: Path) -> dict[str, Tensor]:
    """The moving average of the weights in a checkpoint, by name. Raises InputError as `read_checkpoint` does."""
    weights: dict[str, Tensor] = read_checkpoint(folder)["average"]
    return weights

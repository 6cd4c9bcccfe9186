"""Exact float32 arithmetic, whatever the caller's settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from umlite.machine.forks import Lock

Value = TypeVar("Value")
_lock = Lock()
_inside = 0
_put_back: Callable[[], None]


@contextmanager
def exact_float32() -> Iterator[None]:
    """Within this context, float32 convolutions and products use neither TF32 nor bfloat16.

    The settings belong to the process: of several threads inside, the first changes them and the last restores them.
    """
    global _inside, _put_back
    with _lock:
        if not _inside:
            _put_back = _make_exact()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _put_back()


def _make_exact() -> Callable[[], None]:
    """Change the settings, and return a function that restores them.

    Torch has two sets of names for these settings. It raises if an old name is read after a new one (torch 2.9,
    `fp32_precision`) contradicts it, so both are changed together and both restored.
    """
    products = _read(torch.get_float32_matmul_precision)
    convolutions = _read(lambda: torch.backends.cudnn.allow_tf32)
    named = [(place, place.fp32_precision) for place in _named_places()]
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    for place, _ in named:
        place.fp32_precision = "ieee"

    def put_back() -> None:
        torch.set_float32_matmul_precision(products or "highest")
        torch.backends.cudnn.allow_tf32 = convolutions is not False
        for place, precision in named:
            place.fp32_precision = precision

    return put_back


def _read(setting: Callable[[], Value]) -> Value | None:
    """A setting by its old name; None if the caller has only used the new ones."""
    try:
        return setting()
    except RuntimeError:
        return None


def _named_places() -> list[Any]:
    """The objects that have the new names; none in older torch."""
    parents = (torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn)
    places = [getattr(parent, kind, None) for parent in parents for kind in ("matmul", "conv", "rnn")]
    return [place for place in places if hasattr(place, "fp32_precision")]

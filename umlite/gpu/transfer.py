"""The only place where tensors cross between the host and a GPU; on other devices each is a plain copy or none."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


PIECE_BYTES = 1 << 25
"""Pinned at a time: torch keeps pinned memory and rounds it up to a power of two, so a scan is not pinned whole."""


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """A host tensor on `device`, contiguous on a GPU. There the copy is queued from pinned memory, a piece after the
    other: computation goes on beside it, and so does pinning the next piece."""
    if device.type != "cuda" or x.device.type == "cuda":
        return x.to(device)
    there = torch.empty(x.shape, dtype=x.dtype, device=device)
    _fill(there, x)
    return there


def planes_to_device(parts: Iterable[Tensor], shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of `shape` on `device`, contiguous, of parts on the host that follow each other along its first axis.

    The memory is there before the first part is asked for. On a GPU the next part is read while earlier ones are
    copied. parts: of `dtype`, any strides; read to the end.
    """
    there = torch.empty(*shape, dtype=dtype, device=device)
    first = 0
    for part in parts:
        _fill(there.narrow(0, first, len(part)), part)
        first += len(part)
    return there


def _fill(there: Tensor, x: Tensor) -> None:
    """there: contiguous, changed in place. x: on the host."""
    values, target = x.contiguous().view(-1), there.view(-1)
    if there.device.type != "cuda":
        target.copy_(values)
        return
    step = PIECE_BYTES // x.element_size()
    for first in range(0, len(values), step):
        count = min(step, len(values) - first)
        target.narrow(0, first, count).copy_(values.narrow(0, first, count).pin_memory(), non_blocking=True)


def to_host(x: Tensor) -> Tensor:
    """The values on the host, there when this returns; `x` itself where it is on the host."""
    return x.cpu()


def to(x: Tensor, device: torch.device) -> Tensor:
    """`x` on `device`, whichever way that is; `x` itself where it is there."""
    return to_host(x) if device.type == "cpu" else to_device(x, device)


def to_host_later(x: Tensor) -> Callable[[], Tensor]:
    """Start a copy to the host; the function returned waits for it. What a GPU computes next runs beside the copy.

    x: contiguous in some order of its axes, and not changed any more. The copy keeps its strides.
    """
    if x.device.type != "cuda":
        return lambda: to_host(x)
    host = torch.empty_like(x, device="cpu", pin_memory=True)
    copying = _copy_stream(x.device)
    copying.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(copying):
        host.copy_(x, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record(copying)
    x.record_stream(copying)  # its memory is not given to others before the copy is done

    def arrived() -> Tensor:
        copied.synchronize()
        return host

    return arrived


@functools.lru_cache(maxsize=16)
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def module_to_device(module: AnyModule, device: torch.device) -> AnyModule:
    """The module with all its tensors on `device`."""
    return module.to(device)


@contextmanager
def moved_to_host(x: Tensor) -> Iterator[Tensor]:
    """Within: `x` as a host tensor of the same strides, while the device memory behind it is free for others.

    Afterwards `x` holds what the host tensor holds then. x: any part of a buffer; all of the buffer moves, and nobody
    may use it meanwhile. After an error `x` has no memory any more: the run is over.
    """
    buffer = x.untyped_storage()
    size = buffer.nbytes()
    whole = x.as_strided((size // x.element_size(),), (1,), 0)
    kept = to_host(whole) if x.device.type == "cuda" else whole.clone()
    buffer.resize_(0)
    yield kept.as_strided(x.shape, x.stride(), x.storage_offset())
    buffer.resize_(size)
    whole.copy_(kept)


def synchronise(device: torch.device) -> None:
    """Wait for what a CUDA device still computes; nothing to wait for elsewhere."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

"""The only place where tensors cross between host and GPU. Elsewhere each call is a plain copy, or does nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)

PIECE_BYTES = 1 << 25
"""Bytes pinned at a time. Torch keeps pinned memory, rounded up to a power of two, so a scan is not pinned at once."""


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """A host tensor on `device`, contiguous on a GPU.

    The copy to a GPU is queued from pinned memory piece by piece, so computation and pinning continue beside it.
    """
    if device.type != "cuda" or x.device.type == "cuda":
        return x.to(device)
    there = torch.empty(x.shape, dtype=x.dtype, device=device)
    _fill(there, x)
    return there


def planes_to_device(parts: Iterable[Tensor], shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Assemble a tensor on a device from host parts that follow each other along its first axis.

    Its memory is taken before the first part is read. On a GPU the next part is read while earlier ones are copied.

    Args:
        parts: of `dtype`, any strides; read to the end.
        shape: of the whole tensor.
        dtype: of the whole tensor.
        device: where it goes.

    Returns:
        A contiguous tensor.
    """
    there = torch.empty(*shape, dtype=dtype, device=device)
    first = 0
    for part in parts:
        _fill(there.narrow(0, first, len(part)), part)
        first += len(part)
    return there


def _fill(there: Tensor, x: Tensor) -> None:
    """Copy the host tensor `x` into the contiguous tensor `there`."""
    values, target = x.contiguous().view(-1), there.view(-1)
    if there.device.type != "cuda":
        target.copy_(values)
        return
    step = PIECE_BYTES // x.element_size()
    for first in range(0, len(values), step):
        count = min(step, len(values) - first)
        target.narrow(0, first, count).copy_(values.narrow(0, first, count).pin_memory(), non_blocking=True)


def to_host(x: Tensor) -> Tensor:
    """The tensor on the host, complete when this returns; `x` itself if it is there already."""
    return x.cpu()


def to(x: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`, in whichever direction; `x` itself if it is there already."""
    return to_host(x) if device.type == "cpu" else to_device(x, device)


def to_host_later(x: Tensor) -> Callable[[], Tensor]:
    """Start a copy to the host that runs beside whatever the GPU computes next.

    Args:
        x: contiguous in some order of its axes, and not changed any more.

    Returns:
        A function that waits for the copy and gives it, with the strides of `x`.
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
    x.record_stream(copying)  # its memory is not reused before the copy is done

    def arrived() -> Tensor:
        copied.synchronize()
        return host

    return arrived


@functools.lru_cache(maxsize=16)
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def module_to_device(module: AnyModule, device: torch.device) -> AnyModule:
    """Move all tensors of a module to `device`."""
    return module.to(device)


@contextmanager
def moved_to_host(x: Tensor) -> Iterator[Tensor]:
    """Give `x` as a host tensor of the same strides while its device memory is free for other uses.

    Afterwards `x` gets the values of the host tensor. After an error it has no memory any more, and the run is over.

    Args:
        x: any part of a buffer. The whole buffer moves, and nobody may use it meanwhile.
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
    """Wait until a CUDA device has finished its work; on other devices, return at once."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

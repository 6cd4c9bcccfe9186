"""The only place where tensors cross between the host and a GPU; on other devices each is a plain copy or none."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """A host tensor on `device`. To a GPU the copy is queued from pinned memory: computation goes on beside it."""
    if device.type != "cuda" or x.device.type == "cuda":
        return x.to(device)
    return x.contiguous().pin_memory().to(device, non_blocking=True)


def to_host(x: Tensor) -> Tensor:
    """The values on the host, there when this returns; `x` itself where it is on the host."""
    return x.cpu()


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

"""How many windows fit in a GPU's memory, from shapes alone, and how to recognise errors of full memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

MOST_WINDOWS = 4
"""Most windows at a time: one window of 96^3 already occupies a whole GPU except at the coarsest levels."""
MARGIN = 1.25
"""Factor on the activations for convolution workspaces, graphs of smaller batches, and fragmentation."""


def windows_at_a_time(free: int, one: int) -> int:
    """Number of windows to compute at a time: a power of two from 1 to MOST_WINDOWS.

    It is at least 1, since only the device can tell whether one window fits.

    Args:
        free: free bytes.
        one: bytes that one window needs.
    """
    count = MOST_WINDOWS
    while count > 1 and count * one * MARGIN > free:
        count //= 2
    return count


def limit_memory(device: torch.device, limit: int) -> None:
    """Let torch take at most `limit` bytes of a GPU in this process; beyond that it raises its OutOfMemoryError."""
    whole = torch.cuda.mem_get_info(device)[1]
    index = torch.cuda.current_device() if device.index is None else device.index  # "cuda" alone is refused there
    torch.cuda.set_per_process_memory_fraction(min(limit / whole, 1.0), index)


FULL = ("out of memory", "alloc_failed", "allocfailed", "unable to find an engine")
"""Words in messages of CUDA, HIP, cuBLAS and MIOpen, and of torch if no cuDNN algorithm has room for its workspace."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that a device's memory is full."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause).lower()
        if isinstance(cause, torch.OutOfMemoryError) or (
            isinstance(cause, RuntimeError) and any(words in text for words in FULL)
        ):
            return True
        cause = cause.__context__  # a graph left half recorded raises an error of its own
    return False


def activation_bytes(function: Callable[[Tensor], object], shape: Sequence[int], dtype: torch.dtype) -> int:
    """Most bytes of tensors alive at once while a function runs, its input included and its weights not.

    Args:
        function: runs on the meta device, where nothing is computed.
        shape: of its input.
        dtype: of its input.
    """
    with torch.inference_mode(), _LiveBytes() as live:
        function(torch.empty(*shape, dtype=dtype, device="meta"))
    return live.most


class _LiveBytes(TorchDispatchMode):
    """Counts the storage of every tensor that an operation creates, until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {_storage(x)._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and _storage(tensor)._cdata not in self._known | given:
                self._count(_storage(tensor))
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()

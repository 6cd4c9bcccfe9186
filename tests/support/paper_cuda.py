"""CUDA tensors on a machine without CUDA: shapes, dtypes and devices are checked, numbers do not exist.

FakeTensorMode carries the tensors. A CPU build of torch still refuses indexing, `~`, `contiguous` and transfers of such
tensors, because their bindings look for a driver; here they are said in operations that it allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

DEVICE = torch.device("cuda", 0)


class _Allowed(TorchFunctionMode):
    """Indexing and copies in terms of views that need no driver."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].device.type == "cuda":
            if function is Tensor.__getitem__:
                return _view(args[0], args[1])
            if function is Tensor.__setitem__:
                value = args[2]
                view = _view(args[0], args[1])
                return view.mul_(value) if isinstance(value, Tensor) else view.fill_(value)
            if function is Tensor.copy_:
                return args[0].mul_(args[1])
            if function is Tensor.__invert__:
                return torch.bitwise_not(args[0])
            if function is Tensor.contiguous:
                return args[0].clone(memory_format=kwargs.get("memory_format", torch.contiguous_format))
        return function(*args, **kwargs)


@contextmanager
def paper_cuda() -> Iterator[FakeTensorMode]:
    """Inside, `torch.empty(..., device="cuda")` and operations on it work without a driver, and mixed devices raise."""
    with FakeTensorMode() as mode, _Allowed():
        yield mode


def _view(x: Tensor, index: Any) -> Tensor:
    places = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [p for p in places if not isinstance(p, Tensor | slice)]:
        where = next(i for i, p in enumerate(places) if p is Ellipsis)
        given = sum(p is not None and p is not Ellipsis for p in places)
        places[where : where + 1] = [slice(None)] * (x.ndim - given)
    axis = 0
    for place in places:
        if place is None:
            x = x.unsqueeze(axis)
            axis += 1
        elif isinstance(place, int):
            x = x.select(axis, place)
        elif isinstance(place, slice):
            start, stop, step = place.indices(x.shape[axis])
            if step != 1:
                chosen = torch.empty(len(range(start, stop, step)), dtype=torch.int64, device=x.device)
                x = x.index_select(axis, chosen)
            else:
                x = x.narrow(axis, start, max(stop - start, 0))
            axis += 1
        else:
            chosen = torch.empty(len(place), dtype=torch.int64, device=x.device)
            x = x.index_select(axis, chosen)
            axis += 1
    return x

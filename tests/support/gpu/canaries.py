"""Output tensors that show a write outside them and an element never written."""

from __future__ import annotations

import torch
from torch import Tensor

GUARD = 256  # elements before and after
WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
POISON = {
    torch.float16: 0x7EAD,
    torch.bfloat16: 0x7FAD,
    torch.float32: 0x7FC0DEAD,
    torch.float64: 0x7FF8DEADDEADDEAD,
}  # quiet NaNs with a mark that arithmetic does not make


class Guarded:
    """`tensor` inside a larger buffer full of marked NaNs (a marked integer for integers).

    `strides` (elements) make it non-contiguous: what lies between is guarded too. `offset` moves its first element off
    the 16-byte alignment that it has otherwise. `values` fill it, for tensors that a kernel changes in place.
    """

    def __init__(
        self,
        *shape: int,
        dtype: torch.dtype = torch.float32,
        strides: tuple[int, ...] | None = None,
        offset: int = 0,
        values: Tensor | None = None,
    ) -> None:
        if strides is None:
            strides = torch.empty(shape, device="meta").stride()
        span = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        word = WORDS[dtype.itemsize]
        self._mark = POISON.get(dtype, 0x5A if dtype.itemsize == 1 else 0x5A5A)
        self._bits = torch.full((span + 2 * GUARD,), self._mark, dtype=word)
        self._outside = torch.ones(span + 2 * GUARD, dtype=torch.bool)
        self._outside.as_strided(shape, strides, GUARD + offset).fill_(False)
        self.tensor = self._bits.view(dtype).as_strided(shape, strides, GUARD + offset)
        if values is not None:
            self.tensor.copy_(values)

    def check(self) -> Tensor:
        """The tensor, once nothing outside was touched and everything inside was written; AssertionError otherwise."""
        strayed = (self._bits[self._outside] != self._mark).sum().item()
        assert strayed == 0, f"{strayed} elements outside the tensor were written"
        missed = (self._bits[~self._outside] == self._mark).sum().item()
        assert missed == 0, f"{missed} elements of the tensor were never written"
        return self.tensor

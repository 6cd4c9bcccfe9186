"""From sums to bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from umlite.errors import WeightsError
from umlite.inference.blending import decide


def test_more_than_32_classes_get_wider_integers() -> None:
    names = tuple(f"c{i}" for i in range(40))
    sums = torch.zeros(40, 2, 1, 1)
    sums[[31, 32, 39], 0] = 1.0
    bits = decide(sums, names)
    assert bits.dtype == torch.int64
    assert bits.flatten().tolist() == [2**31 + 2**32 + 2**39, 0]


@pytest.mark.parametrize("classes", [1, 31, 32, 33, 64])
def test_every_bit_is_its_own_class(classes: int) -> None:
    sums = torch.randn(classes, 3, 4, 5, generator=torch.Generator().manual_seed(classes))
    bits = decide(sums, [str(k) for k in range(classes)]).numpy()
    bits = bits.view(np.uint64 if classes > 32 else np.uint32)
    for k in range(classes):
        assert np.array_equal((bits >> k & 1).astype(bool), (sums[k] > 0).numpy())


def test_a_part_of_a_buffer() -> None:
    sums = torch.randn(3, 7, 8, 9)
    assert torch.equal(decide(sums[:, 2:5, :, 1:4], "abc"), decide(sums, "abc")[2:5, :, 1:4])


def test_exactly_zero_is_not_present() -> None:
    sums = torch.tensor([0.0, 1e-30, -1e-30, -0.0]).view(1, 4, 1, 1)
    assert decide(sums, ("a",)).flatten().tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_an_error_not_an_empty_mask(value: float) -> None:
    sums = torch.zeros(2, 3, 1, 1)
    sums[1, 1] = value
    with pytest.raises(WeightsError, match=r"NaN.*liver"):
        decide(sums, ("spleen", "liver"))

"""Limits are read as people write them, and say by how much a run exceeds them."""

from __future__ import annotations

import pytest

from umlite.cost.limits import Limits
from umlite.cost.prediction import Prediction
from umlite.errors import DeviceError, RequestError
from umlite.machine.sizes import format_size, parse_size


def cost(peak: int = 3_000_000_000, vram: tuple[int, int] = (0, 0)) -> Prediction:
    fitting = {1: peak // 3, 2: peak // 2, 3: peak}
    return Prediction(4, 4, {"windows": 1.0}, peak, 10, vram, fitting)


@pytest.mark.parametrize(
    ("text", "size"),
    [("3GB", 3e9), ("3", 3e9), ("2.5", 2.5e9), (".5 gb", 5e8), ("800MB", 8e8), ("2GiB", 2**31), ("4096 b", 4096)],
)
def test_sizes(text: str, size: float) -> None:
    assert parse_size(text) == int(size)


@pytest.mark.parametrize("text", ["", "0", "-1", "3 apples", "GB", "1e3", "nan", "0.1b", "9" * 30])
def test_nonsense(text: str) -> None:
    with pytest.raises(RequestError, match="a size like 3GB"):
        parse_size(text)


@pytest.mark.parametrize(("size", "text"), [(0, "0 MB"), (43.2e6, "43.2 MB"), (1e8, "0.10 GB"), (3e9, "3.00 GB")])
def test_small_sizes_are_shown_in_megabytes(size: float, text: str) -> None:
    assert format_size(size) == text


def test_within_limits() -> None:
    assert not Limits().any
    for limits in (Limits(), Limits(ram=3_000_000_000), Limits(ram=4_000_000_000, vram=1)):
        assert limits.excess(cost()) == ""
        limits.check(cost())


@pytest.mark.parametrize(
    ("ram", "advice"),
    [
        (2_500_000_000, "0.50 GB more than the 2.50 GB allowed. 2 classes at a time fit"),
        (1_200_000_000, "1.80 GB more than the 1.20 GB allowed. One class at a time fits"),
        (100_000_000, "One class alone needs 1.00 GB"),
    ],
)
def test_beyond_the_memory(ram: int, advice: str) -> None:
    with pytest.raises(DeviceError, match=advice):
        Limits(ram=ram).check(cost())


def test_sums_may_leave_the_gpu() -> None:
    assert Limits(vram=2_000).excess(cost(vram=(5_000, 2_000))) == ""
    assert "GPU memory" in Limits(vram=1_999).excess(cost(vram=(5_000, 2_000)))

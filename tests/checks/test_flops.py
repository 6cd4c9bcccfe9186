"""Operation counts of the published sizes, and a rate that a machine can have."""

from __future__ import annotations

import pytest

from umlite.checks.flops import matrix_product_peak, published_operations
from umlite.models.config import HeadConfig, NetworkConfig, SwinUNETRConfig, UNetConfig


@pytest.mark.parametrize(("backbone", "giga"), [(UNetConfig(), 1657), (SwinUNETRConfig(), 642)])
def test_published_sizes(backbone: UNetConfig | SwinUNETRConfig, giga: int) -> None:
    counted = published_operations(NetworkConfig(backbone, HeadConfig(32)), (96, 96, 96))
    assert sum(counted.values()) / 1e9 == pytest.approx(giga, abs=1)


def test_rate_of_a_matrix_product() -> None:
    assert 1e6 < matrix_product_peak(side=64, repeats=3) < 1e15

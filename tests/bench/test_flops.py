"""Operation counts of the published sizes, and a rate that a machine can have."""

from __future__ import annotations

import pytest

from bench.flops import matrix_product_peak, published_operations
from umlite.models.config import HeadConfig, NetworkConfig, SegResNetConfig, SwinUNETRConfig, UNetConfig


@pytest.mark.parametrize(("backbone", "giga"), [(UNetConfig(), 1657), (SwinUNETRConfig(), 642)])
def test_published_sizes(backbone: UNetConfig | SwinUNETRConfig, giga: int) -> None:
    counted = published_operations(NetworkConfig(backbone, HeadConfig(32)), (96, 96, 96))
    assert sum(counted.values()) / 1e9 == pytest.approx(giga, abs=1)


def test_a_segresnet() -> None:
    config = NetworkConfig(SegResNetConfig(), HeadConfig.linear(25, 16))
    assert sum(published_operations(config, (96, 96, 96)).values()) / 1e9 == pytest.approx(123, abs=1)


def test_the_peak_is_the_fastest_of_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two products of warm-up do not count; of the others the fastest does."""
    ticks = iter([0.0, 1e-9, 0.0, 1e-9, 0.0, 4e-3, 0.0, 2e-3, 0.0, 8e-3])
    monkeypatch.setattr("bench.flops.time.perf_counter", lambda: next(ticks))
    assert matrix_product_peak(side=50, repeats=3) == pytest.approx(2 * 50**3 / 2e-3)

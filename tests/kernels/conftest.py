"""Compiled kernels are kept between test runs, beside pytest's own cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _compiled_kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    try:
        import triton
    except ImportError:
        yield
        return
    with triton.knobs.cache.scope():
        triton.knobs.cache.dir = str(request.config.cache.mkdir("triton"))
        yield

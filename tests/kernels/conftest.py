"""Compiled kernels are kept between test runs, beside pytest's own cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _compiled_kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    cache = getattr(request.config, "cache", None)
    with pytest.MonkeyPatch.context() as patch:
        if cache is not None:
            patch.setenv("TRITON_CACHE_DIR", str(cache.mkdir("triton")))
        yield

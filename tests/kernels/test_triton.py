"""Whether a Triton will do is told by what it can do, and a GPU operation without one says what is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from umlite.errors import DeviceError
from umlite.kernels import triton as kernels


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    kernels.available.cache_clear()
    yield
    kernels.available.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, version: str, *known: str) -> None:
    """A Triton of a version whose language knows some names."""
    triton, language = ModuleType("triton"), ModuleType("triton.language")
    triton.__version__ = version  # type: ignore[attr-defined]
    triton.language = language  # type: ignore[attr-defined]
    triton.__spec__ = sys.__spec__
    for name in known:
        setattr(language, name, object)
    monkeypatch.setitem(sys.modules, "triton", triton)
    monkeypatch.setitem(sys.modules, "triton.language", language)


@pytest.mark.parametrize("version", ["3.3.0", "3.10.1+rocm7", "nightly"])
def test_one_that_knows_tuples_will_do(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    install(monkeypatch, version, "tuple")
    assert kernels.available() == (True, f"Triton {version}")


@pytest.mark.parametrize("version", ["3.2.0", "2.1.0"])
def test_an_old_one_will_not_do(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    install(monkeypatch, version)
    usable, why = kernels.available()
    assert not usable
    assert f"Triton {version} is too old" in why


def test_one_that_cannot_be_imported_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "3.7.1")
    monkeypatch.setitem(sys.modules, "triton.language", None)
    usable, why = kernels.available()
    assert not usable
    assert why.startswith("Triton cannot be imported (ModuleNotFoundError: import of triton.language halted")


@pytest.mark.parametrize(("platform", "why"), [("win32", "has no build for win32"), ("linux", "is not installed")])
def test_without_one_operations_say_so(monkeypatch: pytest.MonkeyPatch, platform: str, why: str) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(DeviceError, match=why):
        kernels.require()

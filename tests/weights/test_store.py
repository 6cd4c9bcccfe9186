"""Which file a name means, and what to do when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from umlite.errors import WeightsError
from umlite.weights.store import install_path, installed, resolve, store_folder


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UMLITE_WEIGHTS", str(tmp_path / "store"))
    return tmp_path / "store"


def install(store: Path, *names: str) -> None:
    store.mkdir(exist_ok=True)
    for name in names:
        (store / f"{name}.safetensors").touch()


def test_nothing_installed_says_what_to_do() -> None:
    assert installed() == {}
    with pytest.raises(WeightsError, match=r"umlite weights pull unet.*umlite weights convert FILE\.pth"):
        resolve(None)


def test_the_only_one_is_the_default(store: Path) -> None:
    install(store, "mine")
    assert resolve(None) == resolve("mine") == store / "mine.safetensors"


def test_several_must_be_chosen_from(store: Path) -> None:
    install(store, "unet", "swin_unetr")
    with pytest.raises(WeightsError, match=r"swin_unetr, unet\. Choose one"):
        resolve(None)
    assert resolve("unet") == store / "unet.safetensors"


def test_unfinished_files_are_not_installed(store: Path) -> None:
    install(store, ".umlite-0123-unet")
    assert installed() == {}


def test_paths_and_unknown_names(tmp_path: Path) -> None:
    file = tmp_path / "some.safetensors"
    assert resolve(file) == file
    assert resolve("folder/name") == Path("folder/name")
    with pytest.raises(WeightsError, match=r"No weights called 'unett'.*Installed: none"):
        resolve("unett")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "x" * 101])
def test_names_are_plain_words(name: str) -> None:
    with pytest.raises(WeightsError, match="Expected a name"):
        install_path(name)


def test_the_default_folder_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UMLITE_WEIGHTS")
    assert store_folder().parts[-2:] == ("umlite", "weights")

"""Where the cache lies, for users of every kind; what in it is believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from umlite.machine.cache_folder import cache_folder, not_kept, trusted


def test_the_folder_that_was_asked_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("UMLITE_CACHE", "~/kept")
    assert cache_folder() == tmp_path / "kept"
    monkeypatch.delenv("UMLITE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert tmp_path in cache_folder().parents


def test_a_user_that_does_not_exist(monkeypatch) -> None:
    monkeypatch.setenv("UMLITE_CACHE", "~no-such-user/cache")
    with pytest.raises(OSError, match="no such user"):
        cache_folder()
    assert "kept anywhere (UMLITE_CACHE is" in not_kept(OSError(2, "UMLITE_CACHE is x"))


@pytest.mark.parametrize("older", [True, False])
def test_a_user_without_a_home(monkeypatch, older: bool) -> None:
    def homeless(*_: object, **__: object) -> Path:
        if older:
            return Path("~/.cache/umlite")
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("UMLITE_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", homeless)
    with pytest.raises(OSError, match="no home folder"):
        cache_folder()


def test_only_files_of_one_s_own_are_believed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    path.chmod(0o644)
    assert trusted(path)
    path.chmod(0o664)
    assert not trusted(path)
    path.unlink()
    os.mkfifo(path)
    assert not trusted(path)
    assert not trusted(tmp_path)
    with pytest.raises(FileNotFoundError):
        trusted(tmp_path / "missing")

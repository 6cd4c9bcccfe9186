"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from umlite.errors import OutputError
from umlite.files import expanded, output_path

NOBODY = "~no-such-user"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("make", [expanded, output_path])
def test_a_tilde_is_the_home_folder(make, tmp_path: Path) -> None:
    assert make("~/masks") == make(Path("~/masks")) == tmp_path / "home" / "masks"
    assert make("~") == tmp_path / "home"
    assert make("a/~/b") == Path("a/~/b")
    assert make("b~") == Path("b~")
    assert make("~root/b").is_absolute()


@pytest.mark.parametrize("make", [expanded, output_path])
def test_what_exists_is_meant(make, tmp_path: Path) -> None:
    (tmp_path / "~root").mkdir()
    (tmp_path / NOBODY).mkdir()
    (tmp_path / "~scan.nii").touch()
    for path in ("~root", NOBODY, "~scan.nii", f"{NOBODY}/new"):
        assert make(path) == Path(path)


def test_a_home_of_nobody() -> None:
    assert expanded(f"{NOBODY}/scan.nii") == Path(f"{NOBODY}/scan.nii")
    with pytest.raises(OutputError, match=f"{NOBODY} is not a user's home folder. Write out") as caught:
        output_path(f"{NOBODY}/masks")
    assert caught.value.about == ("output",)

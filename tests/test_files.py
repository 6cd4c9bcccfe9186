"""Paths as people write them, and files that are no JSON."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from umlite.errors import OutputError
from umlite.files import MOST_JSON_BYTES, expanded, file_sha256, kept_sha256, output_path, read_json

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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe\xfd", "decode"),
        (b"[" * 200_000, "nested too deeply"),
        (b" " * (MOST_JSON_BYTES + 1), "longer than 4 MiB"),
    ],
)
def test_what_is_no_json(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "a.json")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(OSError, match="not a regular file"):
        read_json(tmp_path / "a.json")


def test_a_hash_is_that_of_the_content_now(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    for content in (b"one", b"two", b"three"):
        path.write_bytes(content)
        assert kept_sha256(path) == kept_sha256(path) == file_sha256(path)
    with pytest.raises(FileNotFoundError):
        kept_sha256(tmp_path / "absent")

"""What reaches a terminal or a log: names whole, nothing that steers a terminal, lines while a scan runs."""

from __future__ import annotations

import os
import sys

import pytest

from umlite import terminal
from umlite.terminal import plain, show, show_table, tell, window_bars


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("liver.nii.gz, ü 漢 3 mm²", "liver.nii.gz, ü 漢 3 mm²"),
        ("a\nError: forged", "a\\nError: forged"),
        ("2 faults:\n  missing a\n  missing b", "2 faults:\n  missing a\n  missing b"),
        ("\x1b[2J\a\r\b\x7f\x9b1m", "\\x1b[2J\\x07\\r\\x08\\x7f\\x9b1m"),
        ("\u202egnp.exe\u2028x\ud800", "\\u202egnp.exe\\u2028x\\ud800"),
    ],
)
def test_control_characters_are_escaped(text: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert plain(text) == expected
    tell(text)
    show(text)
    show_table(("name",), [(text,)], title=text)
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert not any(line.startswith("Error:") for line in (shown.out + shown.err).splitlines())


def test_names_are_never_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = "/data/" + "long_" * 60 + ".nii.gz"
    show_table(("name", "file"), [("demo", name)], whole=(0, 1), title=name)
    assert capsys.readouterr().out.count(name) == 2


def test_lines_without_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    with window_bars(silent=False) as progress_of:
        progress = progress_of("ct.nii.gz")
        for done in range(101):
            now[0] = done * 6.0
            progress(done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("ct.nii.gz: started")
    assert [line.split(": ", 1)[1] for line in lines[1:]] == [
        "20 of 100 windows, about 8 min left",
        "40 of 100 windows, about 6 min left",
        "60 of 100 windows, about 4 min left",
        "80 of 100 windows, about 2 min left",
    ]
    with window_bars(silent=True) as progress_of:
        progress_of("ct.nii.gz")(1, 2)
    assert capsys.readouterr().err == ""


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w") as closed:
        pass
    monkeypatch.setattr(sys, "stderr", closed)
    tell("said into the void")

"""Lines at the bottom of a terminal: what scrolls is whole, what is left is clean, whatever the size."""

from __future__ import annotations

import os
import sys

import pytest

if os.name != "posix":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

from support.screen import Terminal, stream_on, streams_on
from umlite import terminal as lines_of_terminal
from umlite.block import Block, can_draw
from umlite.terminal import show, show_table, tell, window_bars


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal that can be drawn on."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("CI", "")
    return Terminal()


def test_lines_scroll_above_and_nothing_is_left(terminal: Terminal) -> None:
    with streams_on(terminal):
        with Block(lambda _width: ["two scans", "one"], sys.stderr):
            terminal.read_until("one")
            assert terminal.screen() == ["", "two scans", "one"]
            tell("Warning: a.nii is odd.")
            terminal.read_until("one")
            assert terminal.screen() == ["Warning: a.nii is odd.", "", "two scans", "one"]
            show_table(("class", "ml"), [("liver", "3")])
            show("written")
            terminal.read_until("written")
            assert [line.split() for line in terminal.screen()[-4:]] == [["written"], [], ["two", "scans"], ["one"]]
        tell("2 of 2 scans segmented.")
        terminal.read_until("2 of 2")
        lines = [line.rstrip() for line in terminal.screen()]
        assert lines == ["Warning: a.nii is odd.", " class  ml", " liver  3", "written", "2 of 2 scans segmented."]
        assert "?25" not in terminal.written, "the cursor stays as it is"


def test_lines_keep_to_the_terminal(terminal: Terminal) -> None:
    """Also when it is resized, for wide characters, and where there are more lines than fit."""
    with streams_on(terminal):
        long = "".join(f"漢{n}" for n in range(60))
        with Block(lambda _width: [long, *(f"line {n}" for n in range(40))], sys.stderr):
            terminal.read_until("and 20 more")
            assert len(terminal.screen()) == 23
            assert 77 <= terminal.widest() <= 79
            terminal.resize(31, 8)
            terminal.read_until("and 36 more")
            assert len(terminal.screen()) == 7
            assert terminal.widest() <= 30
        tell("end")
        terminal.read_until("end")
        assert terminal.screen() == ["end"]


def test_a_stream_that_knows_few_characters(terminal: Terminal) -> None:
    with stream_on(terminal, "ascii") as stream, Block(lambda _width: ["漢" * 60], stream):
        terminal.read_until("\\u6f22")
        assert terminal.widest() <= 79


def test_lines_that_stay_are_written_once(terminal: Terminal) -> None:
    with streams_on(terminal):
        looks = []
        with Block(lambda _width: looks.append(0) or ["line"], sys.stderr):
            while len(looks) < 3:
                terminal.read_until("line")
        tell("end")
        terminal.read_until("end")
        assert terminal.written.count("line") == 1


def test_a_terminal_that_goes_away_and_a_system_without_threads(terminal: Terminal, monkeypatch) -> None:
    with streams_on(terminal):
        with stream_on(terminal) as stream:
            block = Block(lambda _width: ["line"], stream)
            with block:
                terminal.read_until("line")
                stream.close()
                with block.lifted():
                    pass
        monkeypatch.setattr("threading.Thread.start", lambda _thread: (_ for _ in ()).throw(RuntimeError("no thread")))
        with Block(lambda _width: ["line"], sys.stderr):
            tell("told")
        terminal.read_until("told")
        assert terminal.written.count("line") == 1


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("TERM", "xterm", True), ("TERM", "dumb", False), ("TERM", "", False), ("CI", "true", False), ("CI", "0", True)],
)
def test_where_a_block_can_be_drawn(terminal: Terminal, monkeypatch, name: str, value: str, expected: bool) -> None:
    with streams_on(terminal):
        monkeypatch.setenv(name, value)
        assert can_draw(sys.stderr) is expected
        with open(os.devnull, "w") as file:
            assert not can_draw(file)


def test_a_bar_of_one_scan(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    with streams_on(terminal):
        now = [0.0]
        monkeypatch.setattr(lines_of_terminal.time, "monotonic", lambda: now[0])
        with window_bars(silent=False) as progress_of:
            progress = progress_of("ct\x1b[2J.nii.gz")
            terminal.read_until("0 s  ct\\x1b[2J.nii.gz")
            now[0] = 600.0
            progress(20, 80)
            terminal.read_until("[#####...............] 20 of 80 windows, about 30 min left  ct\\x1b[2J.nii.gz")
            now[0] = 90_000.0
            progress(20, 80)
            terminal.read_until("about 3.1 days left")
        tell("end")
        terminal.read_until("end")
        assert terminal.screen() == ["end"]
        monkeypatch.setenv("TERM", "dumb")
        with window_bars(silent=False) as progress_of:
            progress_of("ct.nii.gz")
        terminal.read_until("ct.nii.gz: started")

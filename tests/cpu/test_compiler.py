"""Running the C compiler: what it says, and that nothing it starts outlives the build."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from umlite.cpu import compiler
from umlite.cpu.compiler import CompilerError, Processes, compile_source

ROOT = Path(__file__).parents[2]


def program(path: Path, text: str) -> list[str]:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return [str(path)]


class Hanging:
    """A compiler that starts another program, and neither ends; both hold a pipe open as long as they live."""

    def __init__(self, folder: Path) -> None:
        pipe = folder / "alive"
        os.mkfifo(pipe)
        self._pipe = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.command = program(folder / "hanging-cc", f"exec 3> {pipe}\nsleep 600 &\necho >&3\nwait")

    def wait_until_running(self, count: int = 1) -> None:
        read = b""
        while len(read) < count:
            read += self._read()

    def wait_until_dead(self) -> None:
        while self._read():
            pass

    def _read(self) -> bytes:
        assert select.select([self._pipe], [], [], 100)[0]
        return os.read(self._pipe, 100)


@pytest.fixture
def hanging(tmp_path: Path) -> Hanging:
    return Hanging(tmp_path)


@pytest.mark.parametrize("given", ['gcc "', "gcc 'a", "gcc \\"])
def test_a_command_with_unbalanced_quotes(monkeypatch, given: str) -> None:
    monkeypatch.setenv("CC", given)
    with pytest.raises(CompilerError, match="which is no command"):
        compiler.compiler()


def test_the_first_complaint_is_told(tmp_path: Path) -> None:
    cc = program(tmp_path / "cc", "echo 'a.c:1: note: x' >&2; echo 'a.c:2: error: no such thing' >&2; exit 1")
    with pytest.raises(CompilerError, match=r"cannot build a\.c: a\.c:2: error: no such thing"):
        compile_source(tmp_path / "a.c", tmp_path / "a.so", cc)


def test_a_compiler_that_asks_gets_no_answer(tmp_path: Path) -> None:
    """It reads from nowhere, not from the terminal."""
    cc = program(tmp_path / "cc", "read answer || { echo 'error: no input' >&2; exit 1; }")
    with pytest.raises(CompilerError, match="no input"):
        compile_source(tmp_path / "a.c", tmp_path / "a.so", cc)


def test_one_that_hangs_ends_at_the_limit_with_what_it_started(tmp_path: Path, monkeypatch, hanging: Hanging) -> None:
    monkeypatch.setattr(compiler, "BUILD_LIMIT_S", 0.5)
    with pytest.raises(CompilerError, match="did not finish within"):
        compile_source(tmp_path / "a.c", tmp_path / "a.so", hanging.command)
    hanging.wait_until_dead()


def test_the_end_of_the_block_ends_all(tmp_path: Path, hanging: Hanging) -> None:
    with ThreadPoolExecutor(2) as pool, Processes(600) as processes:
        codes = [pool.submit(processes.run, hanging.command, tmp_path / f"{number}.log") for number in range(2)]
        hanging.wait_until_running(2)
    assert [code.result() for code in codes] == [-signal.SIGKILL] * 2
    hanging.wait_until_dead()
    with pytest.raises(CompilerError, match="has been ended"):
        processes.run(hanging.command, tmp_path / "late.log")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_program_and_its_compilers(
    tmp_path: Path, scan_file: Path, hanging: Hanging, number: int, code: int
) -> None:
    command = [sys.executable, "-m", "umlite", "segment", str(scan_file), "-o", str(tmp_path / "out")]
    cache = str(tmp_path / "cache")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CC": hanging.command[0], "UMLITE_CACHE": cache}
    run = subprocess.Popen(
        [*command, "--weights", "demo"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    hanging.wait_until_running()
    run.send_signal(number)
    said = run.communicate()[0].decode()
    assert run.returncode == code, said
    assert "Traceback" not in said
    hanging.wait_until_dead()

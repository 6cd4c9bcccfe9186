"""Building, keeping and loading the C kernels, and what happens where that cannot be done."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from umlite.cpu import compiler
from umlite.cpu.compiler import CompilerError

GCC = shutil.which("gcc")
ROOT = Path(__file__).parents[2]
PLAIN_COMPILER = """#!/bin/sh
for argument do
  shift
  case "$argument" in -march=native|-fopenmp) ;; *) set -- "$@" "$argument" ;; esac
done
exec {gcc} "$@"
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch) -> Path:
    """A source folder with two tiny kernels, a cache of its own, and nothing loaded yet."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "one.c").write_text('#include "shared.h"\nint answer(void) { return ANSWER; }\n')
    (folder / "two.c").write_text("int answer(void) { return 2; }\n")
    (folder / "shared.h").write_text("#define ANSWER 41\n")
    monkeypatch.setattr(compiler, "SOURCE", folder)
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path / "cache"))
    forget(monkeypatch)
    return folder


def forget(monkeypatch) -> None:
    monkeypatch.setattr(compiler, "_loaded", {})
    monkeypatch.setattr(compiler, "_failed", {})


def kept(tmp_path: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in (tmp_path / "cache" / "kernels").glob("*.so"))


@pytest.mark.usefixtures("sources")
def test_first_load_builds_everything_once(tmp_path: Path, monkeypatch) -> None:
    said: list[str] = []
    assert compiler.load("one", said.append).answer() == 41
    assert kept(tmp_path) == ["one", "two"]
    assert len(said) == 1
    assert "once" in said[0]
    forget(monkeypatch)
    monkeypatch.setattr(compiler, "_build", None)  # nothing may be built again
    assert compiler.load("two", said.append).answer() == 2
    assert compiler.load("one").answer() == 41
    assert len(said) == 1


def test_a_changed_header_is_another_kernel(sources: Path, monkeypatch) -> None:
    assert compiler.load("one").answer() == 41
    (sources / "shared.h").write_text("#define ANSWER 43\n")
    forget(monkeypatch)
    assert compiler.load("one").answer() == 43


def test_a_broken_source_takes_no_other_with_it(sources: Path) -> None:
    (sources / "two.c").write_text("int answer(void) { return nothing; }\n")
    assert compiler.load("one").answer() == 41
    for _ in range(2):
        with pytest.raises(CompilerError, match=r"two\.c.*nothing"):
            compiler.load("two")


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize("content", [b"", b"\x7fELF broken", None])
def test_a_broken_file_in_the_cache_is_built_again(tmp_path: Path, monkeypatch, content) -> None:
    compiler.load("one")
    path = next((tmp_path / "cache" / "kernels").glob("one-*.so"))
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    forget(monkeypatch)
    assert compiler.load("one").answer() == 41
    assert path.read_bytes() == whole


@pytest.mark.usefixtures("sources")
def test_a_file_that_others_may_write_is_not_loaded(tmp_path: Path, monkeypatch) -> None:
    compiler.load("one")
    path = next((tmp_path / "cache" / "kernels").glob("one-*.so"))
    path.chmod(0o666)
    forget(monkeypatch)
    assert compiler.load("one").answer() == 41
    assert not path.stat().st_mode & stat.S_IWOTH


@pytest.mark.usefixtures("sources")
def test_a_cache_that_cannot_be_written_is_said_and_does_not_stop(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    said: list[str] = []
    assert compiler.load("one", said.append).answer() == 41
    assert any("Cannot keep" in line for line in said)


@pytest.mark.usefixtures("sources")
def test_no_compiler(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(CompilerError, match="No C compiler"):
        compiler.load("one")


def test_cc_is_respected(sources: Path, monkeypatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(CompilerError, match="no-such-compiler"):
        compiler.load("one")
    forget(monkeypatch)
    monkeypatch.setenv("CC", f"{compiler.shutil.which('cc')} -DEXTRA")
    (sources / "one.c").write_text("#ifndef EXTRA\n#error no arguments\n#endif\nint answer(void) { return 5; }\n")
    assert compiler.load("one").answer() == 5


def test_two_processes_at_once(sources: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from umlite.cpu import compiler; compiler.SOURCE = Path(sys.argv[1]);"
        "print(compiler.load('one').answer())"
    )
    command = [sys.executable, "-c", program, str(sources)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: subprocess.run(command, env=environment, capture_output=True), range(3)))
    assert [run.stdout.strip() for run in done] == [b"41"] * 3
    assert kept(tmp_path) == ["one", "two"]


def test_loading_leaves_denormals_alone() -> None:
    """Some compilers link code into a library that makes the whole process flush them to zero."""
    program = (
        "import numpy as np; from umlite.cpu import compiler; tiny = np.full(8, 1e-40, np.float32);"
        "[compiler.load(stem) for stem in compiler.stems()]; print((tiny * np.float32(1))[0] > 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.slow
@pytest.mark.skipif(GCC is None, reason="needs gcc")
@pytest.mark.parametrize("march", ["x86-64-v4", "x86-64-v3", "x86-64"])
def test_every_kernel_compiles_for_other_processors(tmp_path: Path, march: str) -> None:
    for stem in compiler.stems():
        compiler.compile_source(
            compiler.SOURCE / f"{stem}.c", tmp_path / f"{stem}.so", [GCC], [f"-march={march}", "-fopenmp", "-Werror"]
        )


@pytest.mark.slow
@pytest.mark.skipif(GCC is None, reason="needs gcc")
def test_layers_are_right_without_vector_instructions_and_without_threads(tmp_path: Path) -> None:
    """The plainest build, which every compiler can make: the same tests in a process of their own."""
    fake = tmp_path / "plain-cc"
    fake.write_text(PLAIN_COMPILER.format(gcc=GCC))
    fake.chmod(0o755)
    environment = {**os.environ, "CC": str(fake), "UMLITE_CACHE": str(tmp_path / "cache")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(ROOT / "tests/cpu/test_convolution.py"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:]

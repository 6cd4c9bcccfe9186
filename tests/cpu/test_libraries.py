"""Building, keeping and loading the C kernels, and what happens where that cannot be done."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from support import hostile
from umlite.cpu import compiler, libraries
from umlite.cpu.compiler import CompilerError
from umlite.engines.options import EngineOptions
from umlite.engines.setup import choose_setup

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch) -> Path:
    """A source folder with two tiny kernels, a cache of its own, and nothing loaded yet."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "one.c").write_text('#include "shared.h"\nint answer(void) { return ANSWER; }\n')
    (folder / "two.c").write_text("int answer(void) { return 2; }\n")
    (folder / "shared.h").write_text("#define ANSWER 41\n")
    monkeypatch.setattr(libraries, "SOURCE", folder)
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path / "cache"))
    forget(monkeypatch)
    return folder


def forget(monkeypatch) -> None:
    for state in ("_loaded", "_failed", "_built", "_origins"):
        monkeypatch.setattr(libraries, state, {})


def kept(tmp_path: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in (tmp_path / "cache" / "kernels").glob("*.so"))


def kept_file(tmp_path: Path) -> Path:
    """The file of kernel `one` in the cache, which is loaded before."""
    libraries.load("one")
    return next((tmp_path / "cache" / "kernels").glob("one-*.so"))


@pytest.mark.usefixtures("sources")
def test_first_load_builds_everything_once(tmp_path: Path, monkeypatch) -> None:
    said: list[str] = []
    assert libraries.load("one", said.append).answer() == 41
    assert kept(tmp_path) == ["one", "two"]
    assert len(said) == 1
    assert "once" in said[0]
    forget(monkeypatch)
    monkeypatch.setattr(libraries, "_build", None)  # nothing may be built again
    assert libraries.load("two", said.append).answer() == 2
    assert libraries.load("one").answer() == 41
    assert len(said) == 1


def test_a_changed_header_is_another_kernel(sources: Path, monkeypatch) -> None:
    assert libraries.load("one").answer() == 41
    (sources / "shared.h").write_text("#define ANSWER 43\n")
    forget(monkeypatch)
    assert libraries.load("one").answer() == 43


def test_a_broken_source_takes_no_other_with_it(sources: Path) -> None:
    (sources / "two.c").write_text("int answer(void) { return nothing; }\n")
    assert libraries.load("one").answer() == 41
    for _ in range(2):
        with pytest.raises(CompilerError, match=r"two\.c.*nothing"):
            libraries.load("two")


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize("damage", ["emptied", "another file", "cut", "a bit flipped"])
def test_a_broken_file_in_the_cache_is_built_again(tmp_path: Path, monkeypatch, damage: str) -> None:
    path = kept_file(tmp_path)
    whole = path.read_bytes()
    half = len(whole) // 2
    flipped = whole[:half] + bytes([whole[half] ^ 4]) + whole[half + 1 :]
    path.unlink()
    contents = {"emptied": b"", "another file": b"\x7fELF broken", "cut": whole[:half], "a bit flipped": flipped}
    path.write_bytes(contents[damage])
    forget(monkeypatch)
    assert libraries.load("one").answer() == 41
    assert path.read_bytes() == whole


@pytest.mark.usefixtures("sources")
def test_a_file_that_others_may_write_is_not_loaded(tmp_path: Path, monkeypatch) -> None:
    path = kept_file(tmp_path)
    path.chmod(0o666)
    forget(monkeypatch)
    assert libraries.load("one").answer() == 41
    assert not path.stat().st_mode & stat.S_IWOTH


@pytest.mark.usefixtures("sources")
def test_a_cache_that_cannot_be_written_is_said_and_does_not_stop(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    said: list[str] = []
    assert libraries.load("one", said.append).answer() == 41
    assert [line for line in said if "Nothing can be kept" in line] == said[1:]
    assert libraries.load("two", said.append).answer() == 2
    assert len(said) == 2


@pytest.mark.usefixtures("sources")
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    def refuse(path: Path, content: bytes) -> int:
        if (tmp_path / "cache") in path.parents:
            path.touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with open(path, "wb") as file:
            return file.write(content)

    monkeypatch.setattr(Path, "write_bytes", refuse)
    said: list[str] = []
    assert libraries.load("one", said.append).answer() == 41
    assert "No space left" in said[-1]
    assert not list((tmp_path / "cache" / "kernels").iterdir())


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize("forbidden", ["cache", "temporary"])
def test_where_a_disk_runs_no_programs_the_other_does(tmp_path: Path, monkeypatch, forbidden: str) -> None:
    """Home and temporary folders mounted with noexec."""
    open_library = ctypes.CDLL

    def picky(path: str) -> ctypes.CDLL:
        if ((tmp_path / "cache") in Path(path).parents) == (forbidden == "cache"):
            raise OSError("failed to map segment from shared object")
        return open_library(path)

    monkeypatch.setattr(libraries.ctypes, "CDLL", picky)
    assert libraries.load("one").answer() == 41
    forget(monkeypatch)
    monkeypatch.setattr(libraries, "_build", None)  # nothing may be built again
    assert libraries.load("one").answer() == 41


@pytest.mark.usefixtures("sources")
def test_a_folder_of_somebody_else_s_changes_nothing_but_the_time(monkeypatch) -> None:
    """Its files are not believed, and none can be put there: everything is built once in this process."""
    libraries.load("one")
    libraries.load("two")
    forget(monkeypatch)
    monkeypatch.setattr(libraries, "trusted", lambda _: False)
    assert_built_once(monkeypatch)


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize("name", ["/dev/null/cache", "~no-such-user/cache", None])
def test_without_a_cache_everything_is_built_once(monkeypatch, name: str | None) -> None:
    if name is None:  # a user without a home folder
        monkeypatch.delenv("UMLITE_CACHE")
        monkeypatch.setattr("platformdirs.user_cache_path", homeless)
    else:
        monkeypatch.setenv("UMLITE_CACHE", name)
    assert_built_once(monkeypatch)


@pytest.mark.compiler
@pytest.mark.skipif(bool(hostile.why_not()), reason=hostile.why_not())
@pytest.mark.parametrize("home", [None, "/nonexistent", "/root"])
def test_another_user_who_can_keep_nothing_builds_once(sources: Path, tmp_path: Path, home: str | None) -> None:
    program = (
        "import sys; from pathlib import Path; from umlite.cpu import libraries; libraries.SOURCE = Path(sys.argv[1]);"
        "print(*(libraries.load(stem, print).answer() for stem in ('one', 'two')), sep=chr(10))"
    )
    above = [folder for folder in tmp_path.parents if Path(tempfile.gettempdir()) in folder.parents]
    for folder in (sources, tmp_path, *above):
        folder.chmod(0o777)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    for name in ("UMLITE_CACHE", "XDG_CACHE_HOME", "HOME"):
        environment.pop(name, None)
    if home is not None:
        environment["HOME"] = home
    done = hostile.run(["-c", program, sources], user=12345, environment=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    compiling, not_kept, *answers = done.stdout.splitlines()
    assert "Compiling" in compiling
    assert "Nothing can be kept" in not_kept
    assert answers == ["41", "2"]


@pytest.mark.usefixtures("sources")
def test_a_share_that_refuses_to_change_permissions(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "chmod", refuse)
    said: list[str] = []
    assert libraries.load("one", said.append).answer() == 41
    assert len(said) == 1
    assert kept(tmp_path) == ["one", "two"]


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize("what", ["a pipe", "a folder", "no symbols"])
def test_what_is_no_library_in_the_cache_is_not_waited_for(tmp_path: Path, monkeypatch, what: str) -> None:
    path = kept_file(tmp_path)
    path.unlink()
    if what == "a pipe":
        os.mkfifo(path)
    elif what == "a folder":
        path.mkdir()
    else:
        (tmp_path / "empty.c").write_text("")
        compiler.compile_source(tmp_path / "empty.c", tmp_path / "empty.so", compiler.compiler())
        content = (tmp_path / "empty.so").read_bytes()
        stem = path.stem.rsplit("-", 1)[0]
        (path.parent / f"{stem}-{libraries._digest(content)}.so").write_bytes(content)
    forget(monkeypatch)
    assert libraries.load("one").answer() == 41


@pytest.mark.usefixtures("sources")
def test_without_a_temporary_folder_the_cache_holds_what_is_built(tmp_path: Path, monkeypatch) -> None:
    def none_there() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none_there)
    monkeypatch.setenv("TMPDIR", "/dev/null/nowhere")
    assert libraries.load("one").answer() == 41
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["kernels"]


def homeless(*_: object, **__: object) -> Path:
    raise RuntimeError("could not determine the home directory")


def assert_built_once(monkeypatch) -> None:
    """Both kernels are compiled when the first is loaded, and two sentences say so and that nothing is kept."""
    builds: list[str] = []
    compile_source = libraries.compile_source

    def counted(source: Path, *rest: object) -> None:
        builds.append(source.name)
        compile_source(source, *rest)

    monkeypatch.setattr(libraries, "compile_source", counted)
    said: list[str] = []
    assert libraries.load("one", said.append).answer() == 41
    assert libraries.load("two", said.append).answer() == 2
    assert sorted(builds) == ["one.c", "two.c"]
    assert ["Compiling" in said[0], "Nothing can be kept" in said[1], len(said)] == [True, True, 2]


@pytest.mark.compiler
@pytest.mark.usefixtures("sources")
def test_no_place_to_build_in(monkeypatch) -> None:
    def nowhere(**_: str) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(libraries.tempfile, "TemporaryDirectory", nowhere)
    with pytest.raises(CompilerError, match="No usable temporary directory"):
        libraries.load("one")


@pytest.mark.compiler
@pytest.mark.parametrize("able", [True, False])
def test_a_compiler_without_openmp_makes_threads_of_their_own(
    sources: Path, tmp_path: Path, monkeypatch, able: bool
) -> None:
    (sources / "winograd.c").write_text(
        "#ifdef _OPENMP\n#include <omp.h>\nint (*use)(void) = omp_get_thread_num;\n#endif\nint one = 1;\n"
    )
    if not able:
        script = tmp_path / "lonely-cc"
        script.write_text(f'#!/bin/sh\ncase "$*" in *-fopenmp*) exit 1 ;; esac\nexec {shutil.which("cc")} "$@"\n')
        script.chmod(0o755)
        monkeypatch.setenv("CC", str(script))
    reasons = choose_setup(EngineOptions(device="cpu")).reasons
    threads = "OpenMP's threads" if able else "their own threads"
    assert any(reason.startswith("kernels native: C, compiled by ") and threads in reason for reason in reasons)


@pytest.mark.usefixtures("sources")
def test_no_compiler(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(CompilerError, match="No C compiler"):
        libraries.load("one")


@pytest.mark.usefixtures("sources")
def test_a_failure_keeps_nothing_that_its_callers_held(monkeypatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")

    def caller() -> weakref.ref[Future[None]]:
        held: Future[None] = Future()
        with contextlib.suppress(CompilerError):
            libraries.load("one")
        return weakref.ref(held)

    refs = [caller() for _ in range(2)]
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_cc_is_respected(sources: Path, monkeypatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(CompilerError, match="no-such-compiler"):
        libraries.load("one")
    forget(monkeypatch)
    monkeypatch.setenv("CC", f"{shutil.which('cc')} -DEXTRA")
    (sources / "one.c").write_text("#ifndef EXTRA\n#error no arguments\n#endif\nint answer(void) { return 5; }\n")
    assert libraries.load("one").answer() == 5


@pytest.mark.compiler
def test_two_processes_at_once(sources: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from umlite.cpu import libraries; libraries.SOURCE = Path(sys.argv[1]);"
        "print(libraries.load('one').answer())"
    )
    with ThreadPoolExecutor() as pool:
        printed = list(pool.map(lambda _: output_of(program, sources), range(3)))
    assert printed == ["41"] * 3
    assert kept(tmp_path) == ["one", "two"]


@pytest.mark.kernels
def test_loading_leaves_denormals_alone() -> None:
    """Some compilers link code into a library that makes the whole process flush them to zero."""
    program = (
        "import numpy as np; from umlite.cpu import libraries; tiny = np.full(8, 1e-40, np.float32);"
        "[libraries.load(stem) for stem in libraries.stems()]; print((tiny * np.float32(1))[0] > 0)"
    )
    assert output_of(program) == "True"


def output_of(program: str, *arguments: object) -> str:
    """What a program prints that runs in another process."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()

"""Kernels that came with the package: which are used, when a compiler's go before them, and what a broken one says."""

from __future__ import annotations

import importlib.machinery
import shutil
from pathlib import Path

import pytest
import torch

from umlite.cpu import compiler, libraries, prebuilt
from umlite.cpu.compiler import CompilerError

CC = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


@pytest.fixture
def source(tmp_path: Path, monkeypatch) -> Path:
    """A source folder with one tiny kernel, nothing loaded, a package without libraries, and no $CC."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "one.c").write_text("int answer(void) { return 41; }\n")
    for state in ("_loaded", "_failed", "_built", "_origins"):
        monkeypatch.setattr(libraries, state, {})
    monkeypatch.setattr(libraries, "SOURCE", folder)
    monkeypatch.setattr(prebuilt, "BUILT", tmp_path / "built")
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    return folder / "one.c"


def bring(source: Path, name: str, text: str) -> None:
    """Have the package bring a library for an instruction set."""
    if CC is None:
        pytest.skip("needs a C compiler")
    folder = prebuilt.BUILT / name
    folder.mkdir(parents=True)
    program = source.parents[1] / "came.c"
    program.write_text(text)
    compiler.compile_source(program, folder / "one.so", [CC])


def processor(monkeypatch, machine: str, capability: str = "DEFAULT") -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)


@pytest.mark.parametrize(
    ("machine", "capability", "names"),
    [
        ("x86_64", "AVX512", ["avx512", "avx2", "sse2"]),
        ("AMD64", "AVX2", ["avx2", "sse2"]),
        ("x86_64", "DEFAULT", ["sse2"]),
        ("arm64", "DEFAULT", ["neon"]),
        ("aarch64", "SVE256", ["neon"]),
        ("ppc64le", "VSX", []),
    ],
)
def test_the_fastest_that_the_processor_runs(
    source: Path, monkeypatch, machine: str, capability: str, names: list[str]
) -> None:
    processor(monkeypatch, machine, capability)
    assert prebuilt.prebuilt(source) is None
    for name in prebuilt.INSTRUCTIONS:
        (prebuilt.BUILT / name).mkdir(parents=True)
        (prebuilt.BUILT / name / "one.dll").touch()
    for name in names:
        found = prebuilt.prebuilt(source)
        assert found == prebuilt.BUILT / name / "one.dll"
        found.unlink()
    assert prebuilt.prebuilt(source) is None


def test_they_go_before_a_compiler(source: Path, monkeypatch) -> None:
    bring(source, "sse2", "int answer(void) { return 42; }")
    processor(monkeypatch, "x86_64")
    monkeypatch.setattr(libraries, "_build", None)  # nothing may be built
    said: list[str] = []
    assert libraries.load("one", said.append).answer() == 42
    assert libraries._origins["one"] == "built for SSE2, came with the package"
    assert not said


def test_a_compiler_that_is_named_goes_before_them(source: Path, monkeypatch) -> None:
    bring(source, "sse2", "int answer(void) { return 42; }")
    processor(monkeypatch, "x86_64")
    monkeypatch.setenv("CC", str(CC))
    assert libraries.load("one").answer() == 41
    assert libraries._origins["one"] == f"compiled by {CC}"


def test_one_that_fails_is_told_and_they_run(source: Path, monkeypatch) -> None:
    bring(source, "sse2", "int answer(void) { return 42; }")
    processor(monkeypatch, "x86_64")
    monkeypatch.setenv("CC", "no-such-compiler")
    said: list[str] = []
    assert libraries.load("one", said.append).answer() == 42
    assert len(said) == 1
    assert said[0].startswith("CC is set to 'no-such-compiler', which was not found.")
    assert said[0].endswith("The kernels that came with the package run instead.")


@pytest.mark.parametrize("damage", ["no library", "lacks functions"])
def test_a_broken_one_says_so(source: Path, monkeypatch, damage: str) -> None:
    bring(source, "sse2", "int other(void) { return 42; }")
    if damage == "no library":
        (prebuilt.BUILT / "sse2" / "one.so").write_bytes(b"\x7fELF broken")
    processor(monkeypatch, "x86_64")
    with pytest.raises(CompilerError, match=r"came with the package (cannot be loaded|lack functions of one\.c)"):
        libraries.load("one")


def test_the_packaged_compiler_comes_last(tmp_path: Path, monkeypatch) -> None:
    zig = tmp_path / "zig"
    zig.write_text("#!/bin/sh\n")
    zig.chmod(0o755)
    spec = importlib.machinery.ModuleSpec("ziglang", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec if name == "ziglang" else None)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert compiler.compiler() == [str(zig), "cc"]
    cc = tmp_path / "cc"
    shutil.copy2(zig, cc)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler.compiler() == [str(cc)]

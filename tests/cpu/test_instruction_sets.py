"""The C kernels beyond this processor's own instructions: every vector width, and what other compilers make."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from umlite.cpu import compiler, libraries

ROOT = Path(__file__).parents[2]
GCC, ARM_GCC = shutil.which("gcc"), shutil.which("aarch64-linux-gnu-gcc")
LAYERS = ("convolution", "linear", "attention", "transformer", "heads")
WITHOUT_THREADS = """#!/bin/sh
for argument do
  shift
  case "$argument" in -march=native|-mcpu=native|-fopenmp) ;; *) set -- "$@" "$argument" ;; esac
done
exec {gcc} {flags} "$@"
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(GCC is None, reason="needs gcc")]


def passes(folder: Path, command: str) -> None:
    """The layers' tests, with kernels of another compiler, in a process of their own."""
    files = [str(ROOT / f"tests/cpu/test_{name}.py") for name in LAYERS]
    environment = {**os.environ, "CC": command, "UMLITE_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        env=environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout  # as they would be where nothing could be built


@pytest.mark.skipif(compiler.native_flag() != "-march=native", reason="needs an x86 processor")
@pytest.mark.parametrize(
    "flags",
    ["-DLANES=16 -Wno-psabi", "-U__AVX512F__ -U__AVX__", "-U__AVX512F__ -U__AVX__ -U__SSE2__"],
    ids=["16 lanes, as AVX-512", "4 lanes, SSE2", "4 lanes, plain C"],
)
def test_layers_are_right_at_every_width(tmp_path: Path, flags: str) -> None:
    passes(tmp_path, f"{GCC} {flags}")


def test_layers_are_right_with_the_plainest_build(tmp_path: Path) -> None:
    """No threads and nothing that this processor has beyond its family: what every compiler can make."""
    script = tmp_path / "plain-cc"
    script.write_text(WITHOUT_THREADS.format(gcc=GCC, flags=""))
    script.chmod(0o755)
    passes(tmp_path, str(script))


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (GCC, "-march=x86-64-v4"),
        (GCC, "-march=x86-64-v3"),
        (GCC, "-march=x86-64"),
        (ARM_GCC, "-mcpu=neoverse-n1"),
        (ARM_GCC, "-mcpu=neoverse-v1"),
    ],
)
def test_every_kernel_compiles_without_a_warning(tmp_path: Path, command: str | None, flags: str) -> None:
    if command is None or (command == GCC and compiler.native_flag() != "-march=native"):
        pytest.skip("needs a compiler for that processor")
    for stem in libraries.stems():
        source, target = libraries.SOURCE / f"{stem}.c", tmp_path / f"{stem}.so"
        compiler.compile_source(source, target, [command], [flags, "-fopenmp", "-Werror"])


@pytest.mark.parametrize(
    ("command", "flags", "product", "accumulators", "on_the_stack"),
    [
        (GCC, "-march=x86-64-v4", r"vfmadd231ps .*%zmm", 24, r"zmm.*\(%r[sb]p|\(%r[sb]p.*zmm"),
        (GCC, "-march=x86-64-v3", r"vfmadd231ps .*%ymm", 12, r"ymm.*\(%r[sb]p|\(%r[sb]p.*ymm"),
        (ARM_GCC, "-mcpu=neoverse-n1", r"fmla\s+v\d+\.4s", 24, r"\bq\d+.*\[sp"),
    ],
    ids=["AVX-512", "AVX2", "NEON"],
)
def test_the_products_stay_in_registers(
    tmp_path: Path, command: str | None, flags: str, product: str, accumulators: int, on_the_stack: str
) -> None:
    """The loop that all the time goes to: one fused operation per accumulator, none of which ever sees memory."""
    if command is None or (command == GCC and compiler.native_flag() != "-march=native"):
        pytest.skip("needs a compiler for that processor")
    objdump = shutil.which(command.removesuffix("gcc") + "objdump") or shutil.which("objdump")
    if objdump is None:
        pytest.skip("needs objdump")
    target = tmp_path / "winograd.so"
    compiler.compile_source(libraries.SOURCE / "winograd.c", target, [command], [flags, "-fopenmp"])
    listing = subprocess.run([objdump, "-d", "--no-show-raw-insn", str(target)], capture_output=True, text=True)
    for name in ("kernel_full", "kernel_ahead"):
        found = re.search(rf"<{name}>:\n(.*?)\n\n", listing.stdout, re.DOTALL)
        assert found is not None, listing.stdout[:300]
        assert len(re.findall(product, found[1])) == accumulators
        assert not re.findall(on_the_stack, found[1])

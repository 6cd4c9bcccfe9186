"""The C kernels under the address, undefined-behaviour and thread sanitizers, in a process of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from umlite.cpu.libraries import SOURCE

HERE = Path(__file__).parent
GCC = shutil.which("gcc")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(GCC is None, reason="needs gcc and its sanitizers")]


def run_every_layer(folder: Path, flags: str, runtime: str, **options: str) -> subprocess.CompletedProcess[str]:
    """every_layer.py with kernels built with `flags` and the sanitizer's runtime loaded first."""
    found = subprocess.run([GCC, f"-print-file-name={runtime}"], capture_output=True, text=True).stdout.strip()
    if not os.path.isabs(found):
        pytest.skip(f"needs {runtime}")
    environment = {
        **os.environ,
        "CC": f"{GCC} -g -O1 {flags}",
        "UMLITE_CACHE": str(folder),
        "LD_PRELOAD": found,
        **options,
    }
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    # Sanitizers need their shadow's addresses free, which random placement does not always leave.
    fixed = ["setarch", "-R"] if shutil.which("setarch") else []
    command = [*fixed, sys.executable, str(HERE / "every_layer.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500)


def test_addresses_and_undefined_behaviour(tmp_path: Path) -> None:
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=undefined"
    done = run_every_layer(tmp_path, flags, "libasan.so", ASAN_OPTIONS="detect_leaks=0")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "every network ran" in done.stdout


def test_threads(tmp_path: Path) -> None:
    done = run_every_layer(tmp_path, "-fsanitize=thread", "libtsan.so", TSAN_OPTIONS="exitcode=66 report_bugs=1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING: ThreadSanitizer" not in done.stderr
    assert "every network ran" in done.stdout


def test_the_thread_sanitizer_sees_a_race(tmp_path: Path) -> None:
    """Without this, a clean run could mean that nothing was watched."""
    source = tmp_path / "race.c"
    source.write_text(
        '#include "threads.h"\nlong sum;\n'
        "static void share(void *job, const member_t *me) { for (int i = 0; i < 1000; i++) sum++; }\n"
        "int main(void) { parallel(2, share, NULL); return 0; }\n"
    )
    program = tmp_path / "race"
    flags = ["-g", "-O0", "-fsanitize=thread", f"-I{SOURCE}"]
    subprocess.run([GCC, *flags, str(source), "-o", str(program), "-lpthread"], check=True)
    fixed = ["setarch", "-R"] if shutil.which("setarch") else []
    done = subprocess.run([*fixed, str(program)], capture_output=True, text=True, timeout=60)
    assert "data race" in done.stderr

"""Finding and running a C compiler: the system's, or one that is a Python package."""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from umlite.errors import DeviceError

# No -ffast-math: gcc before 13 would link code that makes the whole process flush denormals to zero when it is loaded.
# No scheduling before registers are given out (gcc's default for ARM): it loads so far ahead that accumulators spill.
FLAGS = (
    "-std=gnu11",
    "-O3",
    "-fPIC",
    "-shared",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-schedule-insns",
)
OPENMP = ("-fopenmp",)
OWN_THREADS = ("-pthread",)
"""For a compiler without OpenMP: kernels then run on a pool of their own."""
BUILD_LIMIT_S = 300
"""Limit for a whole build, which takes about ten seconds."""
SAID_BYTES = 1 << 16
"""Bytes of a compiler's messages that are read."""


class CompilerError(DeviceError):
    """The native kernels cannot be built on this machine: there is no C compiler, or it failed."""


class Processes:
    """Child processes that end with a block, however it ends, and at a common time limit.

        with Processes(BUILD_LIMIT_S) as processes:
            processes.run(["cc", ...], log)      # from any thread

    Each has a session of its own, so that the programs it starts end with it.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s, self._deadline = limit_s, time.monotonic() + limit_s
        self._lock, self._running = threading.Lock(), set[subprocess.Popen[bytes]]()
        self._over = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """End all that run, and let none start any more."""
        with self._lock:
            self._over = True
            for process in self._running:
                _kill(process)

    def run(self, line: Sequence[str], log: Path) -> int:
        """Run a command without input. Its messages go to a file, its temporary files beside that one.

        Returns:
            The exit code.

        Raises:
            CompilerError: the time is up, or the block has ended.
            OSError: the command cannot be run.
        """
        with open(log, "wb") as messages, self._lock:
            if self._over:
                raise CompilerError(f"{line[0]} was not run: the build has been ended.")
            process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                env={**os.environ, "TMPDIR": str(log.parent)},
                start_new_session=True,
            )
            self._running.add(process)
        try:
            return process.wait(max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise CompilerError(f"{line[0]} did not finish within {self._limit_s:g} s.") from error
        finally:
            _kill(process)
            process.wait()
            with self._lock:
                self._running.discard(process)


def compiler() -> list[str]:
    """The command of the C compiler: $CC, else cc, gcc or clang, else the package `ziglang`.

    Raises CompilerError when there is none.
    """
    given = os.environ.get("CC", "")
    try:
        command = shlex.split(given)
    except ValueError as error:
        raise CompilerError(f"CC is set to {given!r}, which is no command ({error}). Fix or unset CC.") from error
    if command:
        if found := shutil.which(command[0]):
            return [found, *command[1:]]
        raise CompilerError(f"CC is set to {command[0]!r}, which was not found. Fix or unset CC.")
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    if packaged := packaged_compiler():
        return packaged
    raise CompilerError(
        "No C compiler was found (cc, gcc, clang or $CC). Install the system's, for example the package `gcc`, or "
        "Python's package `ziglang`."
    )


def packaged_compiler() -> list[str]:
    """The compiler of the package `ziglang`, which the extra `compiler` installs; empty without it."""
    package = importlib.util.find_spec("ziglang")
    for folder in (package and package.submodule_search_locations) or ():
        if program := shutil.which("zig", path=folder):
            return [program, "cc"]
    return []


def native_flag() -> str:
    """The flag that asks for all instructions of this processor."""
    return "-march=native" if platform.machine().lower() in ("x86_64", "amd64", "i686") else "-mcpu=native"


def compile_source(
    source: Path, target: Path, command: Sequence[str], extra: Sequence[str] = (), processes: Processes | None = None
) -> None:
    """Build one shared object. Messages go to a file beside it.

    Args:
        source, target: the C file and the shared object.
        command: the compiler, see `compiler`.
        extra: further flags.
        processes: where the compiler runs; on its own by default.

    Raises:
        CompilerError: the compiler's first complaint, or that it did not finish.
    """
    if processes is None:
        with Processes(BUILD_LIMIT_S) as processes:
            return compile_source(source, target, command, extra, processes)
    log = target.with_suffix(".log")
    line = [*command, *FLAGS, *extra, "-o", str(target), str(source), "-lm"]
    try:
        failed = processes.run(line, log)
    except OSError as error:
        raise CompilerError(f"Cannot run {command[0]}: {error}.") from error
    if failed:
        with open(log, "rb") as messages:
            lines = messages.read(SAID_BYTES).decode(errors="replace").splitlines()
        said = [text for text in lines if "error" in text] or lines or ["it said nothing"]
        raise CompilerError(f"{command[0]} cannot build {source.name}: {said[0][:300]}.")
    return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and everything that it started."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()

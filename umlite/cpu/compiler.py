"""Builds the C kernels with the system's compiler on first use, keeps them, and loads them.

One shared object per source file, so that a kernel that cannot be built takes no other with it. Its name holds the hash
of everything that went into it (source, headers, flags, compiler, processor) and the hash of its content: a file that
is there and has its own content is right, whoever made it and whenever.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import secrets
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from umlite.errors import DeviceError
from umlite.machine.cache_folder import cache_folder, trusted
from umlite.machine.forks import Lock

Notify = Callable[[str], None]

SOURCE = Path(__file__).with_name("source")
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
THREADS = ("-fopenmp",)
VERSIONS_KEPT = 8
BUILD_LIMIT_S = 300

_lock = Lock()
_loaded: dict[str, ctypes.CDLL] = {}
_failed: dict[str, CompilerError] = {}


class CompilerError(DeviceError):
    """The native kernels cannot be had on this machine: no C compiler, or it refused. The message says which."""


def load(stem: str, notify: Notify | None = None) -> ctypes.CDLL:
    """The compiled `source/<stem>.c`. The first call on a machine builds every source file that is not in the cache.

    notify: gets one sentence where a build starts, and one where its result cannot be kept.
    Raises CompilerError where there is no compiler or it fails; the same call fails alike in the rest of the process.
    """
    with _lock:
        if stem not in _loaded and stem not in _failed:
            try:
                _loaded[stem] = _find_or_build(stem, notify)
            except CompilerError as error:
                _failed[stem] = error
        if stem in _failed:
            raise _failed[stem]
        return _loaded[stem]


def threaded() -> bool:
    """Whether the compiler had OpenMP: kernels run on one thread otherwise. Raises CompilerError as `load` does."""
    return hasattr(load("winograd"), "omp_get_thread_num")


def stems() -> list[str]:
    """Every kernel file there is, in alphabetical order."""
    return sorted(path.stem for path in SOURCE.glob("*.c"))


def compiler() -> list[str]:
    """$CC with its arguments, else cc, gcc or clang. Raises CompilerError when there is none."""
    if command := shlex.split(os.environ.get("CC", "")):
        if found := shutil.which(command[0]):
            return [found, *command[1:]]
        raise CompilerError(f"CC names {command[0]!r}, which is not there: mend or unset it.")
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    raise CompilerError("No C compiler (cc, gcc, clang, or $CC): install one, for example the package `gcc`.")


def compile_source(source: Path, target: Path, command: Sequence[str], extra: Sequence[str] = ()) -> None:
    """Build one shared object. Raises CompilerError with the compiler's first complaint."""
    line = [*command, *FLAGS, *extra, "-o", str(target), str(source), "-lm"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=BUILD_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerError(f"Cannot run {command[0]}: {error}.") from error
    if done.returncode:
        said = [text for text in done.stderr.splitlines() if "error" in text] or done.stderr.splitlines() or ["nothing"]
        raise CompilerError(f"{command[0]} cannot build {source.name}: {said[0][:300]}.")


def _find_or_build(stem: str, notify: Notify | None) -> ctypes.CDLL:
    command = compiler()
    folder = cache_folder() / "kernels"
    if library := _find(folder, stem, command):
        return library
    missing = [stem, *(other for other in stems() if other != stem and not _files(folder, other, command))]
    if notify:
        notify(f"Compiling the CPU kernels with {command[0]} (once on this machine) ...")
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
        results = list(pool.map(lambda name: _build(name, command), missing))
    first = results[0]
    if isinstance(first, CompilerError):
        raise first
    for name, content in zip(missing, results, strict=True):
        if isinstance(content, bytes):
            try:
                _keep(folder, f"{name}-{_key(name, command)}", content)
            except OSError as error:
                if notify:
                    notify(f"Cannot keep the compiled kernels in {folder} ({error.strerror or error}).")
                break
    return _find(folder, stem, command) or _load(first, stem)


def _key(stem: str, command: Sequence[str]) -> str:
    """Hash of everything that the machine code depends on."""
    digest = hashlib.sha256()
    program = Path(command[0]).resolve()
    status = program.stat()
    parts = [*command, program, status.st_size, status.st_mtime_ns, *FLAGS, *THREADS, _native(), _processor()]
    digest.update("\0".join(map(str, parts)).encode())
    for path in [SOURCE / f"{stem}.c", *sorted(SOURCE.glob("*.h"))]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:20]


def _native() -> str:
    """The flag that asks for everything this processor has."""
    return "-march=native" if platform.machine().lower() in ("x86_64", "amd64", "i686") else "-mcpu=native"


def _processor() -> str:
    """Model and instruction sets: a home folder may be shared by machines that differ."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part")
        return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))
    return f"{platform.machine()} {platform.processor()}"


def _build(stem: str, command: Sequence[str]) -> bytes | CompilerError:
    """The shared object's content, or why there is none. Without OpenMP it works on one thread."""
    source = SOURCE / f"{stem}.c"
    try:
        with tempfile.TemporaryDirectory(prefix="umlite-build-") as folder:
            target = Path(folder) / f"{stem}.so"
            try:
                compile_source(source, target, command, [_native(), *THREADS])
            except CompilerError as first:
                try:
                    compile_source(source, target, command, [_native()])
                except CompilerError:
                    raise first from None
            return target.read_bytes()
    except CompilerError as error:
        return error
    except OSError as error:
        return CompilerError(f"No room to build {source.name} in: {error}.")


def _find(folder: Path, stem: str, command: Sequence[str]) -> ctypes.CDLL | None:
    """A kept library whose content is what its name says; others are removed. CompilerError where it cannot run."""
    for path in _files(folder, stem, command):
        with suppress(OSError):
            content = path.read_bytes()
            if trusted(path) and _digest(content) == path.stem.rsplit("-", 1)[1]:
                try:
                    library = ctypes.CDLL(str(path))
                except OSError:  # nothing may run from that disk
                    library = _load(content, stem)
                with suppress(OSError):
                    os.utime(path)
                return library
            path.unlink()
    return None


def _files(folder: Path, stem: str, command: Sequence[str]) -> list[Path]:
    with suppress(OSError):
        return sorted(folder.glob(f"{stem}-{_key(stem, command)}-*.so"))
    return []


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]


def _load(content: bytes, stem: str) -> ctypes.CDLL:
    """Load a library from a private folder, where the cache cannot be used."""
    try:
        with tempfile.TemporaryDirectory(prefix="umlite-load-") as folder:
            path = Path(folder) / f"{stem}.so"
            path.write_bytes(content)
            return ctypes.CDLL(str(path))
    except OSError as error:
        raise CompilerError(f"What the C compiler built from {stem}.c cannot be loaded: {error}.") from error


def _keep(folder: Path, name: str, content: bytes) -> None:
    """Put a library into the cache under a name that is right at once, and drop versions long unused."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{secrets.token_hex(6)}.so"
    try:
        temporary.write_bytes(content)
        temporary.chmod(0o644)
        os.replace(temporary, folder / f"{name}-{_digest(content)}.so")
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    stem = name.rsplit("-", 1)[0]
    with suppress(OSError):  # another process may drop them at the same moment
        versions = sorted(folder.glob(f"{stem}-{'?' * 20}-{'?' * 20}.so"), key=lambda path: path.stat().st_mtime)
        for path in versions[:-VERSIONS_KEPT]:
            path.unlink()

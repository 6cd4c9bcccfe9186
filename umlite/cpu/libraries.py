"""Finding, building, keeping and loading the C kernels.

Those that came with the package are used as they are, unless $CC names a compiler. Elsewhere a compiler builds them:
one shared object per source file, so that a kernel that cannot be built takes no other with it. Its name holds the hash
of everything that went into it (source, headers, flags, compiler, processor) and the hash of its content. So a file
with the content that its name states is right, whenever it was made.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import platform
import re
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from umlite.cpu.compiler import (
    BUILD_LIMIT_S,
    FLAGS,
    OPENMP,
    OWN_THREADS,
    CompilerError,
    Processes,
    compile_source,
    compiler,
    native_flag,
)
from umlite.cpu.prebuilt import INSTRUCTIONS, prebuilt
from umlite.machine.cache_folder import cache_folder, not_kept, trusted
from umlite.machine.forks import Lock
from umlite.machine.in_threads import in_threads
from umlite.progress import Notify, no_notice

SOURCE = Path(__file__).with_name("source")
VERSIONS_KEPT = 8
LARGEST_BYTES = 64 << 20
"""Largest size of a library; a larger file is something else."""

_PUBLIC = re.compile(r"^(?:void|int|long) (\w+)\(", re.MULTILINE)

_lock = Lock()
_loaded: dict[str, ctypes.CDLL] = {}
_failed: dict[str, str] = {}
"""Why there is no library: words, since an error that is kept would keep everything that its callers held."""
_built: dict[str, bytes] = {}
"""Libraries built by this process and not loaded yet. If nothing can be kept, each is still built once."""
_origins: dict[str, str] = {}
"""Where each loaded library came from."""
_pools: list[ctypes.c_void_p] = []
"""The first library's pool of threads, which all others share; none with OpenMP."""


def load(stem: str, notify: Notify = no_notice) -> ctypes.CDLL:
    """The compiled `source/<stem>.c`, from the package or built here.

    The first call that finds no compiled kernels on a machine builds all that are missing.

    Args:
        stem: name of the C file.
        notify: gets a sentence when a build starts, one when it fails and the package's own kernels run instead, and
            one when its result cannot be kept.

    Raises:
        CompilerError: the package brought none, and there is no compiler, or it fails. Later calls fail alike.
    """
    with _lock:
        if stem not in _loaded and stem not in _failed:
            try:
                _loaded[stem] = _package_s_or_own(stem, notify)
                _share_pool(_loaded[stem])
                _built.pop(stem, None)
            except CompilerError as error:
                _failed[stem] = str(error)
        if stem in _failed:
            raise CompilerError(_failed[stem])
        return _loaded[stem]


def description() -> str:
    """Where the kernels come from, and whose threads run them. Raises CompilerError as `load` does."""
    threads = "OpenMP's threads" if hasattr(load("winograd"), "omp_get_thread_num") else "their own threads"
    return f"C, {_origins['winograd']}, on {threads}"


def stems() -> list[str]:
    """Names of all kernel files, in alphabetical order."""
    return sorted(path.stem for path in SOURCE.glob("*.c"))


def build(source: Path, command: Sequence[str], extra: Sequence[str], processes: Processes | None = None) -> bytes:
    """Build a shared object and return its content. Raises CompilerError."""
    try:
        with _temporary_folder() as folder:
            target = Path(folder) / f"{source.stem}.so"
            compile_source(source, target, command, extra, processes)
            return target.read_bytes()
    except OSError as error:
        raise CompilerError(
            f"No folder to build {source.name} in ({error.strerror or error}): set TMPDIR to one that can be written."
        ) from error


def open_content(content: bytes, source: Path) -> ctypes.CDLL:
    """Load the shared object built from a source file. Raises CompilerError."""
    try:
        with _temporary_folder() as folder:
            path = Path(folder) / f"{source.stem}.so"
            path.write_bytes(content)
            library = ctypes.CDLL(str(path))
    except OSError as error:
        raise CompilerError(f"What the C compiler built from {source.name} cannot be loaded: {error}.") from error
    if not _complete(library, source):
        raise CompilerError(f"What the C compiler built from {source.name} lacks functions: fix or unset CC.")
    return library


def open_prebuilt(path: Path, source: Path) -> ctypes.CDLL:
    """Load a library that came with the package. Raises CompilerError."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise CompilerError(f"The kernels that came with the package cannot be loaded ({error}): set CC.") from error
    if not _complete(library, source):
        raise CompilerError(f"The kernels that came with the package lack functions of {source.name}: reinstall it.")
    return library


def _package_s_or_own(stem: str, notify: Notify) -> ctypes.CDLL:
    """The library that came with the package; one that is built here without it, or where $CC names a compiler."""
    came = prebuilt(_source(stem))
    if came is None or os.environ.get("CC"):
        try:
            library = _find_or_build(stem, notify)
            _origins[stem] = f"compiled by {compiler()[0]}"
            return library
        except CompilerError as error:
            if came is None:
                raise
            notify(f"{error} The kernels that came with the package run instead.")
    _origins[stem] = f"built for {INSTRUCTIONS[came.parent.name]}, came with the package"
    return open_prebuilt(came, _source(stem))


def _share_pool(library: ctypes.CDLL) -> None:
    """Give a library that has no OpenMP the threads of those before it."""
    with suppress(ValueError):
        pool = ctypes.c_void_p.in_dll(library, "umlite_pool")
        _pools.append(pool)
        pool.value = _pools[0].value


def _find_or_build(stem: str, notify: Notify) -> ctypes.CDLL:
    command = compiler()
    if library := _find(stem, command):
        return library
    if stem not in _built:
        others = [name for name in stems() if name not in (stem, *_built, *_loaded, *_failed)]
        missing = [stem, *(name for name in others if not _sound(name, command))]
        notify(f"Compiling the CPU kernels with {command[0]} (once on this machine) ...")
        _build(missing, command)
        try:
            for name in missing:
                if name in _built:
                    _keep(f"{name}-{_key(name, command)}", _built[name])
        except OSError as error:
            notify(not_kept(error))
    if stem in _failed:
        raise CompilerError(_failed[stem])
    return _find(stem, command) or open_content(_built[stem], _source(stem))


def _build(names: Sequence[str], command: Sequence[str]) -> None:
    """Fill `_built` and `_failed`. Compilers end with this call, even if a signal ends it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with Processes(BUILD_LIMIT_S) as processes:

        def build_one(stem: str) -> bytes | CompilerError:
            source = _source(stem)
            try:
                return build(source, command, [native_flag(), *OPENMP], processes)
            except CompilerError as first:
                try:
                    return build(source, command, [native_flag(), *OWN_THREADS], processes)
                except CompilerError:
                    return first

        for name, result in zip(names, in_threads(build_one, names, cores, processes.end), strict=True):
            if isinstance(result, bytes):
                _built[name] = result
            else:
                _failed[name] = str(result)


def _source(stem: str) -> Path:
    return SOURCE / f"{stem}.c"


def _key(stem: str, command: Sequence[str]) -> str:
    """The hash of everything that the machine code depends on."""
    digest = hashlib.sha256()
    program = Path(command[0]).resolve()
    status = program.stat()
    parts = [
        *command,
        program,
        status.st_size,
        status.st_mtime_ns,
        *FLAGS,
        *OPENMP,
        *OWN_THREADS,
        native_flag(),
        _processor(),
    ]
    digest.update("\0".join(map(str, parts)).encode())
    for path in [_source(stem), *sorted(SOURCE.glob("*.h"))]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:20]


def _processor() -> str:
    """Model and instruction sets, because machines that differ may share a home folder."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part")
        return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))
    return f"{platform.machine()} {platform.processor()}"


def _find(stem: str, command: Sequence[str]) -> ctypes.CDLL | None:
    """A kept library with all its functions. Raises CompilerError when it cannot be loaded from anywhere."""
    found = _sound(stem, command)
    if found is None:
        return None
    path, content = found
    try:
        library = ctypes.CDLL(str(path))
    except OSError:  # nothing may run from that disk
        library = open_content(content, _source(stem))
    if not _complete(library, _source(stem)):
        _drop(path)
        return None
    with suppress(OSError):
        os.utime(path)
    return library


def _sound(stem: str, command: Sequence[str]) -> tuple[Path, bytes] | None:
    """A kept file whose content has the hash in its name. Others are removed."""
    with suppress(OSError):
        for path in sorted(_folder().glob(f"{stem}-{_key(stem, command)}-*.so")):
            with suppress(OSError):
                if trusted(path) and path.stat().st_size <= LARGEST_BYTES:
                    content = path.read_bytes()
                    if _digest(content) == path.stem.rsplit("-", 1)[1]:
                        return path, content
                _drop(path)
    return None


def _complete(library: ctypes.CDLL, source: Path) -> bool:
    """Whether a library has all public functions of its source."""
    return all(hasattr(library, name) for name in _PUBLIC.findall(source.read_text()))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]


def _keep(name: str, content: bytes) -> None:
    """Put a library into the cache in one step, and drop the versions unused longest.

    Raises OSError when that cannot be done, and then leaves nothing behind.
    """
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{secrets.token_hex(6)}.so"
    try:
        temporary.write_bytes(content)
        with suppress(OSError):  # some shares have no permissions to change
            temporary.chmod(0o644)
        if not trusted(temporary):
            raise PermissionError(errno.EPERM, "others could change files there")
        os.replace(temporary, folder / f"{name}-{_digest(content)}.so")
    finally:
        _drop(temporary)
    stem = name.rsplit("-", 1)[0]
    with suppress(OSError):  # another process may drop them at the same moment
        versions = sorted(folder.glob(f"{stem}-{'?' * 20}-{'?' * 20}.so"), key=lambda path: path.stat().st_mtime)
        for path in versions[:-VERSIONS_KEPT]:
            path.unlink()


def _folder() -> Path:
    return cache_folder() / "kernels"


def _drop(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder of the system, or else in the cache. Raises OSError when neither can be written."""
    try:
        return tempfile.TemporaryDirectory(prefix="umlite-build-", ignore_cleanup_errors=True)
    except OSError:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".build-", dir=folder, ignore_cleanup_errors=True)

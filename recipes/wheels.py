"""Wheels with compiled kernels: one for each platform below, all built on one machine by the compiler of `ziglang`.

    python -m recipes.wheels [--only TAG ...] [--into dist]

A wheel is the package as pip builds it, with a library for each C source and instruction set in `umlite/cpu/built`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from umlite.cpu.compiler import OWN_THREADS, CompilerError, Processes, compile_source, packaged_compiler
from umlite.cpu.libraries import SOURCE
from umlite.machine.in_threads import in_threads

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "umlite").glob("*/source/*.c"))
LIMIT_S = 3600
"""Limit for all libraries, which take some minutes."""
FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # of all files: wheels of the same sources are the same

X86 = {
    "avx512": "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "avx2": "x86_64+avx2+fma",
    "sse2": "x86_64",
}
"""Folder of `umlite.cpu.prebuilt.BUILT` -> processor, as the compiler names it."""


@dataclass(frozen=True)
class Platform:
    """What a wheel is for. target: as the compiler names it; processors: as `X86`; threads: flags for them."""

    target: str
    processors: dict[str, str]
    suffix: str = "so"
    threads: tuple[str, ...] = OWN_THREADS


PLATFORMS = {
    "manylinux_2_28_x86_64": Platform("x86_64-linux-gnu.2.28", X86),
    "manylinux_2_28_aarch64": Platform("aarch64-linux-gnu.2.28", {"neon": "generic"}),
    "macosx_11_0_arm64": Platform("aarch64-macos.11.0", {"neon": "apple_m1"}, "dylib"),
    "win_amd64": Platform("x86_64-windows-gnu", X86, "dll", ()),
}
"""Tag of a wheel -> what is compiled for it. No Mac on x86-64: the last torch for one is 2.2."""


def libraries_of(platform: Platform, folder: Path, command: Sequence[str], processes: Processes) -> list[Path]:
    """Compile every source for a platform into a folder, one folder inside it per instruction set.

    Raises CompilerError.
    """
    jobs = [(source, name) for name in platform.processors for source in SOURCES]

    def compile_one(job: tuple[Path, str]) -> Path:
        source, name = job
        target = folder / name / f"{source.stem}.{platform.suffix}"
        target.parent.mkdir(exist_ok=True)
        line = [*command, "-target", platform.target, f"-mcpu={platform.processors[name]}"]
        named = ["-install_name", f"@rpath/{target.name}"] if platform.suffix == "dylib" else []  # not this folder's
        compile_source(source, target, line, [*platform.threads, *named, f"-I{SOURCE}", "-s"], processes)
        return target

    return in_threads(compile_one, jobs, os.cpu_count() or 1, processes.end)


def plain_wheel(folder: Path) -> Path:
    """The package's wheel for any platform, without compiled kernels."""
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(line, check=True)
    return next(folder.glob("*-py3-none-any.whl"))


def with_libraries(plain: Path, tag: str, folder: Path, libraries: Sequence[Path], into: Path) -> Path:
    """Write the wheel of a platform: the plain one's files and the libraries, which lie in `folder`."""
    target = into / plain.name.replace("-any.whl", f"-{tag}.whl")
    into.mkdir(parents=True, exist_ok=True)
    with ZipFile(plain) as source:
        files = {name: source.read(name) for name in source.namelist()}
    record = next(name for name in files if name.endswith(".dist-info/RECORD"))
    wheel = record.replace("RECORD", "WHEEL")
    del files[record]
    text = files[wheel].decode().replace("Root-Is-Purelib: true", "Root-Is-Purelib: false")
    files[wheel] = text.replace("py3-none-any", f"py3-none-{tag}").encode()
    files |= {f"umlite/cpu/built/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in libraries}
    files[record] = "".join([*(recorded(name, files[name]) for name in files), f"{record},,\n"]).encode()
    temporary = target.with_suffix(".part")
    with ZipFile(temporary, "w") as archive:
        for name, content in files.items():
            entry = ZipInfo(name, FIRST_DAY)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, ZIP_DEFLATED, 9)
    return temporary.replace(target)


def recorded(name: str, content: bytes) -> str:
    """A file's line in a wheel's RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"


def build(tags: Sequence[str], into: Path) -> list[Path]:
    """Build the wheels of some platforms. Raises CompilerError when the compiler is missing or fails."""
    command = packaged_compiler()
    if not command:
        raise CompilerError("Wheels are built with the package `ziglang`, which is not installed: make wheel does it.")
    made = []
    with tempfile.TemporaryDirectory(prefix="umlite-wheels-") as temporary, Processes(LIMIT_S) as processes:
        plain = plain_wheel(Path(temporary))
        for tag in tags:
            folder = Path(temporary) / tag
            folder.mkdir()
            libraries = libraries_of(PLATFORMS[tag], folder, command, processes)
            made.append(with_libraries(plain, tag, folder, libraries, into))
            print(f"{made[-1]}: {len(libraries)} libraries, {made[-1].stat().st_size / 1e6:.1f} MB", flush=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description="Build a wheel with compiled kernels for each platform.")
    parser.add_argument("--only", nargs="+", choices=list(PLATFORMS), default=list(PLATFORMS), metavar="TAG")
    parser.add_argument("--into", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    build(arguments.only, arguments.into)


if __name__ == "__main__":
    main()

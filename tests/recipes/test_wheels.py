"""Wheels with compiled kernels: their names and records, what their libraries need, and that one runs."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from recipes import wheels

ROOT = Path(__file__).parents[2]
FUNCTION = re.compile(r"^(?:void|int|long) (\w+)\(", re.MULTILINE)
SYSTEM = {
    "so": re.compile(r"lib(c|m|pthread)\.so\.\d|ld-linux.*"),
    "dylib": re.compile(r"/usr/lib/libSystem\.B\.dylib|@rpath/\w+\.dylib"),
    "dll": re.compile(r"KERNEL32\.dll|api-ms-win-crt-.*\.dll|ucrtbase\.dll", re.IGNORECASE),
}
"""What libraries may need of the system, by their suffix."""


def test_a_platform_s_wheel_says_what_it_is(tmp_path: Path) -> None:
    plain = tmp_path / "umlite-1.0-py3-none-any.whl"
    info = "umlite-1.0.dist-info"
    with ZipFile(plain, "w") as archive:
        archive.writestr("umlite/__init__.py", "x = 1\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n\n")
        archive.writestr(f"{info}/RECORD", "")
    library = tmp_path / "made" / "neon" / "heads.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"library")
    made = wheels.with_libraries(plain, "manylinux_2_28_aarch64", tmp_path / "made", [library], tmp_path / "dist")
    assert [path.name for path in (tmp_path / "dist").iterdir()] == ["umlite-1.0-py3-none-manylinux_2_28_aarch64.whl"]
    with ZipFile(made) as archive:
        text = archive.read(f"{info}/WHEEL").decode()
        assert "Root-Is-Purelib: false" in text
        assert "Tag: py3-none-manylinux_2_28_aarch64\n" in text
        assert archive.read("umlite/cpu/built/neon/heads.so") == b"library"
        rows = {row[0]: row[1:] for row in csv.reader(archive.read(f"{info}/RECORD").decode().splitlines())}
        assert set(rows) == set(archive.namelist())
        for name, (digest, size) in rows.items():
            if not name.endswith("RECORD"):
                content = archive.read(name)
                hashed = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest, int(size)) == (f"sha256={hashed}", len(content))


@pytest.fixture(scope="module")
def built() -> list[Path]:
    """The wheels in `dist`, which `make wheel` builds before it runs these tests."""
    found = [path for tag in wheels.PLATFORMS for path in (ROOT / "dist").glob(f"umlite-*-{tag}.whl")]
    if not found:
        pytest.skip("needs the wheels: make wheel")
    return found


def platform_of(wheel: Path) -> wheels.Platform:
    return wheels.PLATFORMS[wheel.stem.split("-none-")[1]]


@pytest.mark.slow
def test_libraries_have_their_functions_and_need_only_the_system(built: list[Path]) -> None:
    lief = pytest.importorskip("lief")
    for wheel in built:
        of = platform_of(wheel)
        with ZipFile(wheel) as archive:
            for source in wheels.SOURCES:
                wanted = set(FUNCTION.findall(source.read_text()))
                for name in of.processors:
                    content = archive.read(f"umlite/cpu/built/{name}/{source.stem}.{of.suffix}")
                    parsed = lief.parse(content)
                    functions = {function.name.removeprefix("_") for function in parsed.exported_functions}
                    assert wanted
                    assert wanted <= functions, (wheel.name, source.stem, wanted - functions)
                    libraries = [str(getattr(library, "name", library)) for library in parsed.libraries]
                    assert all(SYSTEM[of.suffix].fullmatch(needed) for needed in libraries), (wheel.name, libraries)
                    if of.suffix == "so":
                        versions = re.findall(rb"GLIBC_(\d+)\.(\d+)", content)
                        assert max((int(major), int(minor)) for major, minor in versions) <= (2, 28)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="needs Linux on x86-64")
@pytest.mark.parametrize("capability", ["avx512", "avx2", "default"])
def test_the_wheel_runs_without_a_compiler(built: list[Path], tmp_path: Path, capability: str) -> None:
    """The layers' tests on the wheel's kernels, in an environment of its own whose PATH has no compiler."""
    wheel = next((path for path in built if "manylinux_2_28_x86_64" in path.name), None)
    if wheel is None:
        pytest.skip("needs the wheel of this platform: make wheel")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True)
    tests = tmp_path / "tests"  # away from the checkout, whose package would be found first
    tests.mkdir()
    for name in ("conftest.py", "support"):
        (tests / name).symlink_to(ROOT / "tests" / name)
    environment = {key: value for key, value in os.environ.items() if key != "CC"}
    environment |= {
        "PATH": "/nowhere",
        "PYTHONPATH": f"{site}{os.pathsep}{tests}",
        "UMLITE_CACHE": str(tmp_path / "cache"),
        "ATEN_CPU_CAPABILITY": capability,
    }
    names = ("convolution", "linear", "attention", "transformer", "heads", "unet", "swin_unetr", "segresnet")
    files = [str(ROOT / "tests" / "cpu" / f"test_{name}.py") for name in names]
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tests)]
    done = subprocess.run(
        [*line, "--import-mode=importlib", "-m", "not slow", *files],
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    said = subprocess.run(
        [sys.executable, "-m", "umlite", "info"], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    instructions = {"avx512": "AVX-512", "avx2": "AVX2", "default": "SSE2"}[capability]
    assert f"built for {instructions}, came with the package, on their own threads" in " ".join(said.stdout.split())

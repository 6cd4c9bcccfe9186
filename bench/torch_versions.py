"""The quick tests of the engines with one version of torch after the other, each in an environment of its own.

    python -m bench.torch_versions 2.6.0 2.13.0 [--index URL]

Only builds for a CPU are taken: the usual index has CUDA builds for Linux on x86-64, with gigabytes of libraries beside
them. The last line is JSON; docs/versions.md has the table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.report import begin, finish

ROOT = Path(__file__).parents[1]
MOST_BYTES = 400 << 20
"""Largest size of a CPU build's wheel."""
TESTS = ("tests/engines/test_cpu.py", "tests/engines/test_setup.py", "tests/engines/test_engine.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    parser.add_argument("--index", help="URL of an index that has CPU builds")
    options = parser.parse_args()
    report = begin("torch_versions", vars(options))
    for version in options.versions:
        with tempfile.TemporaryDirectory(prefix="umlite-torch-") as folder:
            report[version] = tried(version, options.index, Path(folder))
        print(f"torch {version}: {report[version]}", flush=True)
    finish(report)


def tried(version: str, index: str | None, folder: Path) -> str:
    """The last line of the tests with a version of torch, or why they did not run."""
    source = ["--index-url", index] if index else []
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *source]
    if subprocess.run([*download, f"torch=={version}"], stdout=sys.stderr).returncode:
        return "not to be had"
    wheel = next(folder.glob("torch-*.whl"))
    if wheel.stat().st_size > MOST_BYTES:
        return f"{wheel.stat().st_size >> 20} MB: a CUDA build"
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    # Everything but torch as it is here: a path that Python looks at last.
    site = next((folder / "venv").glob("lib/python*/site-packages"))
    (site / "rest.pth").write_text(f"{Path(sys.prefix) / site.relative_to(folder / 'venv')}\n{ROOT}\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    subprocess.run([*install, str(wheel)], check=True)
    line = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    return (done.stdout.splitlines() or ["no output"])[-1]


if __name__ == "__main__":
    main()

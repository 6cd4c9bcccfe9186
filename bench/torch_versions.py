"""The quick tests with one version of torch after the other, everything else as it is here.

    python -m bench.torch_versions 2.6.0 2.13.0 [--index URL] [--tests tests/engines ...]

The usual index has CUDA builds for Linux on x86-64, with gigabytes of libraries beside them. Only torch itself is
fetched (0.5 to 0.9 GB a version), and the Triton that it asks for: empty libraries stand in for CUDA's, so what runs is
the CPU's side alone.
Needs a C compiler and `nm`. The last line is JSON; docs/versions.md has the table.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path

from bench.report import begin, finish

ROOT = Path(__file__).parents[1]
TESTS = (
    *("tests/engines/test_cpu.py", "tests/engines/test_engine.py", "tests/engines/test_setup.py"),
    *("tests/models/test_unet.py", "tests/models/test_swin_unetr.py", "tests/models/test_merging.py"),
    *("tests/kernels/test_decide.py", "tests/kernels/test_fused_heads.py", "tests/kernels/test_window_attention.py"),
    *("tests/masks/test_bitmask.py", "tests/weights/test_checkpoint.py", "tests/weights/test_loading.py"),
    *("tests/test_demo.py", "tests/test_api.py"),
)
"""Both networks on each engine, torch.compile, operations, masks, weights, scans by command line and from Python."""
NO_DEVICE = 100
"""What CUDA's functions return where there is no GPU."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    parser.add_argument("--index", help="URL of an index, one that has CPU builds say")
    parser.add_argument("--tests", nargs="+", default=list(TESTS), metavar="PATH")
    options = parser.parse_args()
    report = begin("torch_versions", vars(options))
    for version in options.versions:
        with tempfile.TemporaryDirectory(prefix="umlite-torch-") as folder:
            report[version] = tried(version, options.index, options.tests, Path(folder))
        print(f"torch {version}: {report[version]}", flush=True)
    finish(report)


def tried(version: str, index: str | None, tests: list[str], folder: Path) -> str:
    """The last line of the tests with a version of torch, or why they did not run."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target", str(folder)]
    install += ["--index-url", index] if index else []
    if subprocess.run([*install, f"torch=={version}"], stdout=sys.stderr).returncode:
        return "not to be had"
    for package in triton_of(folder):
        if subprocess.run([*install, package], stdout=sys.stderr).returncode:
            return f"{package} is not to be had"
    missing = stand_in(folder / "torch")
    # Everything else as it is here: Python looks into PYTHONPATH first.
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=environment)
    print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
    return f"{(done.stdout.splitlines() or ['no output'])[-1]}, {len(missing)} libraries of CUDA empty"


def triton_of(folder: Path) -> list[str]:
    """The Triton that the torch in a folder asks for; none where it asks for no version."""
    (torch,) = distributions(name="torch", path=[str(folder)])
    return re.findall(r"^triton[~=]=[\d.]+", "\n".join(torch.requires or ()), re.MULTILINE)


def stand_in(torch: Path) -> list[str]:
    """Put a library without code in the place of each that torch needs and that is not there. Returns their names.

    torch binds all functions when it is loaded, so they have them, and each says that there is no GPU.
    """
    programs = [*torch.glob("lib/*.so*"), *torch.glob("*.so")]
    text = told("objdump", "-p", *programs)
    names = sorted(set(re.findall(r"NEEDED\s+(\S+)", text)))
    missing = [name for name in names if not (torch / "lib" / name).exists() and not loads(name)]
    wanted: dict[str, set[str]] = defaultdict(set)  # version of a function -> functions
    for symbol, version in re.findall(r" U (\w+)(?:@(\S+))?", told("nm", "-D", "--undefined-only", *programs)):
        wanted[version].add(symbol)
    defined = set(re.findall(r" \w (\w+)", told("nm", "-D", "--defined-only", *programs)))
    wanted[""] = {symbol for symbol in wanted[""] - defined if symbol.startswith(("cu", "nccl", "nv"))}
    versions: dict[str, set[str]] = defaultdict(set)  # library -> versions of its functions
    for name, lines in re.findall(r"required from (\S+):\n((?: +0x.*\n)+)", text):
        versions[name] |= set(re.findall(r"(\S+)$", lines, re.MULTILINE))
    for name in missing:
        source, script = torch / "lib" / f"{name}.c", torch / "lib" / f"{name}.versions"
        groups = versions[name] or {""}
        source.write_text("".join(function(symbol) for group in groups for symbol in wanted[group]))
        lists = {group: "".join(f"{symbol}; " for symbol in wanted[group]) for group in groups}
        script.write_text("".join(f"{group} {{ {symbols}}};\n" for group, symbols in lists.items()))
        line = ["cc", "-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,-soname,{name},--version-script={script}"]
        subprocess.run([*line, str(source), "-o", str(torch / "lib" / name)], check=True)
    return missing


def loads(name: str) -> bool:
    """Whether the system has a library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def function(name: str) -> str:
    """A function of CUDA's where there is no GPU, in C."""
    if name.endswith(("String", "ErrorName")):
        return f'const char *{name}(void) {{ return "no GPU"; }}\n'
    return f"int {name}(void) {{ return {NO_DEVICE}; }}\n"


def told(*line: str | Path) -> str:
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()

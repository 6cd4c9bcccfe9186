"""What a command imports and starts before it works, which is most of the time of a small scan."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc, json, sys
started = []
def watch(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.system"):
        started.append(str(arguments[0]))
sys.addaudithook(watch)
from umlite.__main__ import _run
sys.argv = ["umlite", *sys.argv[1:]]
code = _run()
print(json.dumps([code, started, sorted(sys.modules), gc.isenabled()]))
"""
UNUSED = {  # of torch, other packages and umlite
    *("torch._dynamo", "torch._inductor", "triton", "sympy", "highdicom", "ray"),
    *("umlite.products.report.writing", "umlite.products.pictures.drawing", "umlite.products.mesh.class_mesh"),
    *("umlite.products.dicom.segmentation", "umlite.products.dicom.key_images", "umlite.training.train"),
}


def start(*arguments: object) -> tuple[list[str], set[str]]:
    """What a command starts and imports, once it has ended well."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, started, modules, collects = json.loads(done.stdout.splitlines()[-1])
    assert (code, collects) == (0, True), done.stderr
    return started, set(modules)


@pytest.mark.compiler
def test_a_scan_imports_what_it_needs_and_a_finished_one_no_torch(tmp_path: Path, scan_file: Path) -> None:
    command = ("segment", scan_file, "-o", tmp_path / "out", "-c", "liver", "--weights", "demo", "--threads", 1, "-q")
    start(*command)  # compiles the kernels where they are not kept
    started, modules = start(*command, "--force")
    assert started in ([], ["uname"])  # Python's `platform`, for the manifest
    assert "torch" in modules
    assert not UNUSED & modules
    started, modules = start(*command)
    assert started == []
    assert not {"torch", *UNUSED} & modules

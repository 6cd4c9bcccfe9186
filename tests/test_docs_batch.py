"""The examples of docs/batch.md run: lists, loops, schedulers, a watched folder. What needs a cluster is emulated."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
from typer.testing import CliRunner

from support.dicom import phantom_hu, write_series
from support.docs import DOCS, examples, run_lines
from support.samples import make_scan
from umlite.cli import app


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_weights: Path) -> Path:
    """What the page calls scans, an inbox and a list of jobs; one installed model, and `umlite` in PATH."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UMLITE_WEIGHTS", str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    shutil.copy(small_weights, tmp_path / "store" / "small.safetensors")
    for name in ("scans/a.nii.gz", "scans/deep/b.nii.gz", "inbox/c.nii.gz"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(make_scan((20, 18, 16), seed=len(name)), name)
    Path("jobs.csv").write_text(examples("batch.md", "csv")[0])
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "umlite"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m umlite "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))
    return tmp_path


def run_script(script: str, environment: Mapping[str, str] = {}, shell: str = "bash") -> str:
    """What a script prints, with /data in this test's folder."""
    script = script.replace("/data/", f"{Path.cwd()}/data/")
    done = subprocess.run(
        [shell, "-ec", script], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def example_with(word: str, language: str = "bash") -> str:
    (found,) = (block for block in examples("batch.md", language) if word in block)
    return found


def test_batch() -> None:
    first, watch = examples("batch.md", "sh")
    shown = run_lines(first)
    assert "2 scans: 0 done before, 2 to run." in shown
    assert "0 of 2 scans segmented, 2 done before" in shown
    assert Path("results/deep/b/spleen.nii.gz").exists()
    assert Path("livers/deep/b.nii.gz").exists()
    assert Path("special/b/aorta.nii.gz").exists()
    run_lines(watch)
    assert Path("watched/c/liver.nii.gz").exists()


def test_shell_loop() -> None:
    run_script(example_with("for scan in"))
    assert Path("loop/a/liver.nii.gz").exists()
    assert not Path("failed.txt").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("parallel") is None, reason="needs GNU parallel (apt-get install parallel)")
def test_gnu_parallel() -> None:
    run_script(example_with("parallel"))
    assert sorted(map(str, Path("results").rglob("liver.nii.gz"))) == [
        "results/a/liver.nii.gz",
        "results/deep/b/liver.nii.gz",
    ]


def test_slurm() -> None:
    """Both tasks of an array, as a scheduler starts them."""
    shutil.move("scans", "data/scans")
    script = example_with("#SBATCH")
    array = {"SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"}
    told = [run_script(script, {**array, "SLURM_ARRAY_TASK_ID": task}) for task in ("1", "2")]
    assert ["Written to" in text for text in told] == [True, True]
    assert len(list(Path("data/results").rglob("manifest.json"))) == 2
    assert sorted(path.name for path in Path("data/logs").iterdir()) == ["1.jsonl", "2.jsonl"]


def kubernetes_job() -> Any:
    return pytest.importorskip("yaml").safe_load(example_with("kind: Job", "yaml"))


def test_kubernetes() -> None:
    job = kubernetes_job()
    assert (job["apiVersion"], job["spec"]["completionMode"]) == ("batch/v1", "Indexed")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert f"/{job['spec']['completions']} " in container["args"][0]
    subprocess.run([container["command"][0], "-n", *container["command"][1:], *container["args"]], check=True)


@pytest.mark.slow
def test_the_command_of_a_kubernetes_pod() -> None:
    (container,) = kubernetes_job()["spec"]["template"]["spec"]["containers"]
    shutil.move("scans", "data/scans")
    run_script(container["args"][0], {"JOB_COMPLETION_INDEX": "0"}, container["command"][0])
    assert len(list(Path("data/results").rglob("manifest.json"))) == 1


def test_orthanc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin, called as Orthanc calls it, and the folder that it fills."""
    write_series(Path("stable"), phantom_hu())
    shutil.make_archive("series", "zip", "stable")
    callbacks: list[Callable[..., None]] = []
    orthanc: Any = types.ModuleType("orthanc")
    orthanc.ChangeType = types.SimpleNamespace(STABLE_SERIES=7)
    orthanc.RestApiGet = {"/series/one/archive": Path("series.zip").read_bytes()}.__getitem__
    orthanc.RegisterOnChangeCallback = callbacks.append
    monkeypatch.setitem(sys.modules, "orthanc", orthanc)
    exec(example_with("orthanc", "python").replace("/data/inbox", "inbox"), {})
    for change in (7, 8):
        callbacks[0](change, 2, "one")
    assert sorted(path.name for path in Path("inbox").iterdir()) == ["c.nii.gz", "one.zip"]
    run_lines(examples("batch.md", "sh")[1])
    assert Path("watched/one/liver.nii.gz").exists()


def test_options_of_every_example_exist() -> None:
    known = {word for word in CliRunner().invoke(app, ["segment", "--help"]).stdout.split() if word.startswith("--")}
    for block in [*examples("batch.md", "bash"), *examples("batch.md", "yaml")]:
        for arguments in re.findall(r"umlite segment (.*?)(?:\n\S|\n\n|$|:::)", block, flags=re.S):
            assert set(re.findall(r"--[a-z-]+", arguments)) <= known, arguments

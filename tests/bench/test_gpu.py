"""The benchmark for GPUs: a rehearsal of every part on a CPU, and that no part can cost another its results."""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
NAMES = ("gpu", "gpu_cases", "gpu_checks", "gpu_device", "gpu_parts", "gpu_session", "gpu_summary", "gpu_worker")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of the benchmark, which lies beside the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    return SimpleNamespace(**{name: importlib.import_module(f"bench.{name}") for name in NAMES})


def rehearse(bench: SimpleNamespace, out: Path, *arguments: object) -> tuple[int, dict[str, Any], str]:
    code = bench.gpu.main(["--rehearse", "--out", str(out), *map(str, arguments)])
    return code, json.loads((out / "results.json").read_text()), (out / "summary.md").read_text()


@pytest.fixture
def on_triton(bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels of the cases are Triton's: launch code meets the stub driver, the interpreter computes."""
    pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")
    from support.gpu.interpreter import interpreted
    from support.gpu.operations import on_gpu

    for name in ("fused_heads", "gather_windows", "blend", "channel_scale_shift", "norm_act", "window_attention"):
        monkeypatch.setattr(bench.gpu_cases, name, on_gpu(getattr(bench.gpu_cases, name)))
    for name in ("decide_bits", "resample_hu"):
        monkeypatch.setattr(bench.gpu_cases, name, on_gpu(getattr(bench.gpu_cases, name)))
    with interpreted("sm_90"):
        yield


@pytest.mark.usefixtures("on_triton")
def test_rehearsal(bench: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part, on Triton's kernels where they are checked and timed, on a narrow U-Net."""
    make = bench.gpu_session.Session.__init__

    def small(self: Any, asked: Any) -> None:
        make(self, asked)
        self.side = 8

    monkeypatch.setattr(bench.gpu_session.Session, "__init__", small)
    for name, value in (("CLASSES", 3), ("FEATURES", 16)):  # the interpreter's time goes by turns and programs
        monkeypatch.setattr(bench.gpu_cases, name, value)
    monkeypatch.setattr(bench.gpu_checks, "REPEATS", 2)
    weights = bench.gpu_session.narrow("unet")
    code, parts, page = rehearse(bench, tmp_path, "--inline", "--weights", weights)
    assert [part.name for part in bench.gpu.PARTS] == list(parts)
    assert {name: part["status"] for name, part in parts.items()} == dict.fromkeys(parts, "done"), page
    assert not [row for part in parts.values() for row in part["rows"] if row.get("fault")], page
    assert code == 0, page
    files = {path.stem for path in (ROOT / "umlite" / "kernels" / "triton").glob("*.py")} - {"__init__"}
    operations = {path.stem for path in (ROOT / "umlite" / "kernels").glob("*.py")} & files
    for kernel in operations - {"gather", "resample", "decide"} | {"gather_windows", "decide_bits", "resample_hu"}:
        for part, key in (("kernels", "name"), ("kernel_times", "kernel")):
            assert any(row[key].startswith(f"{kernel},") for row in parts[part]["rows"]), f"{part}: no {kernel}"
    assert {"umlite", "eager", "autocast", "compile + autocast"} <= {r["way"] for r in parts["window_times"]["rows"]}
    assert {row["classes"] for row in parts["scans"]["rows"]} == {"all", "liver,pancreas"}
    assert all(f"## {name}: done" in page for name in parts)
    assert "a window takes" in page


@pytest.mark.slow
def test_rehearsal_in_processes_of_its_own(bench: SimpleNamespace, tmp_path: Path) -> None:
    """Both networks, as a user starts it."""
    code, parts, page = rehearse(bench, tmp_path, "--seconds", 3000)
    assert code == 0, page
    assert {row["network"] for row in parts["window_times"]["rows"]} == {"unet", "swin_unetr"}


def test_a_wrong_kernel_is_told_and_its_times_are_marked(
    bench: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.gpu_cases, "norm_act", lambda x, *_: x.clone())
    code, parts, page = rehearse(bench, tmp_path, "--inline", "--parts", "kernels,kernel_times")
    assert code == 1
    assert {row["name"].split(",")[0] for row in parts["kernels"]["rows"] if not row["passed"]} == {"norm_act"}
    assert {r["kernel"].split(",")[0] for r in parts["kernel_times"]["rows"] if not r.get("passed", True)} == {
        "norm_act"
    }
    assert "mean nothing" in page


def test_without_a_gpu(bench: SimpleNamespace, capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.gpu.main(["--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert "torch sees none here" in printed.err
    assert not printed.out
    assert not (tmp_path / "out").exists()


PARTS = """
import os, time

def session(_argument):
    return object()

def fine(_session, _earlier):
    yield {"number": 1}
    yield {"number": float("nan")}

def raises(_session, _earlier):
    yield {"number": 1}
    raise RuntimeError("an illegal memory access\\nwas encountered")

def dies(_session, _earlier):
    yield {"number": 1}
    os._exit(3)

def hangs(_session, _earlier):
    yield {"number": 1}
    time.sleep(600)

def resumes(_session, earlier):
    for number in range(len(earlier["resumes"]), 4):
        if number == 1:
            os._exit(3)
        yield {"number": number}

def looks(_session, earlier):
    yield {"seen": {name: len(rows) for name, rows in earlier.items()}}
"""


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of parts that go wrong, which a process can import."""
    (tmp_path / "parts_that_fail.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module("parts_that_fail")


def run(bench: SimpleNamespace, folder: Path, parts: list[Any], seconds: float = 60) -> dict[str, Any]:
    results = bench.gpu.Results(folder)
    workers = bench.gpu_worker.Workers("parts_that_fail:session", None, folder / "log.txt")
    bench.gpu.run(parts, workers, results, seconds)
    return json.loads((folder / "results.json").read_text())


@pytest.mark.usefixtures("parts")
def test_no_part_costs_another_its_results(bench: SimpleNamespace, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bench.gpu, "LEAST_SECONDS", 0.1)
    part = functools.partial(bench.gpu_worker.Part, seconds=60)
    made = [part(name, f"parts_that_fail:{name}") for name in ("raises", "fine", "dies", "resumes", "looks")]
    made[3] = part("resumes", "parts_that_fail:resumes", resumes=True)
    made.insert(3, bench.gpu_worker.Part("hangs", "parts_that_fail:hangs", 3))
    found = run(bench, tmp_path / "out", made)
    assert {name: entry["status"] for name, entry in found.items()} == {
        "raises": "RuntimeError: an illegal memory access was encountered",
        "fine": "done",
        "dies": "its process ended with exit code 3",
        "hangs": "stopped after 3 s",
        "resumes": "done",
        "looks": "done",
    }
    assert found["fine"]["rows"] == [{"number": 1}, {"number": None}]
    assert [row.get("number") for row in found["resumes"]["rows"]] == [0, None, 2, 3]
    assert found["looks"]["rows"] == [
        {"seen": {"raises": 1, "fine": 2, "dies": 1, "hangs": 1, "resumes": 4}},
    ]


@pytest.mark.usefixtures("parts")
def test_a_part_without_time_left_is_not_begun(bench: SimpleNamespace, tmp_path: Path) -> None:
    found = run(bench, tmp_path, [bench.gpu_worker.Part("fine", "parts_that_fail:fine", 60)], seconds=1)
    assert found["fine"]["status"] == "no time left"


@pytest.mark.usefixtures("parts")
def test_what_is_cut_off_has_lost_nothing(bench: SimpleNamespace, tmp_path: Path) -> None:
    """Interrupted in the middle of a part: the rows before are on disk, and no process is left."""
    results = bench.gpu.Results(tmp_path)
    workers = bench.gpu_worker.Workers("parts_that_fail:session", None, tmp_path / "log.txt")
    written = results.write

    def write() -> None:
        written()
        if results.parts["hangs"]["rows"]:
            results.write = written
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    results.write = write
    with pytest.raises(KeyboardInterrupt):
        bench.gpu.run([bench.gpu_worker.Part("hangs", "parts_that_fail:hangs", 60)], workers, results, 60)
    assert json.loads((tmp_path / "results.json").read_text())["hangs"]["rows"] == [{"number": 1}]
    assert workers._process is None


def test_a_check_fails_by_error_by_nan_and_by_runs_that_differ(bench: SimpleNamespace) -> None:
    answers = iter([1.0, 1.0, 1.0 + 1e-6])
    make = functools.partial(bench.gpu_cases.Case, "kernel", launch=lambda: None, tolerance=1e-3, bytes=1)
    one = torch.ones(2)
    good = make(answer=lambda: (one,), expected=lambda: (one,))
    assert bench.gpu_checks.check_kernel(good).passed
    racing = make(answer=lambda: (one * next(answers),), expected=lambda: (one,))
    assert "differ" in str(bench.gpu_checks.check_kernel(racing))

    def broken() -> tuple[torch.Tensor, ...]:
        raise RuntimeError("Triton Error [CUDA]:\n  invalid argument")

    check = bench.gpu_checks.check_kernel(make(answer=broken, expected=lambda: (one,)))
    assert not check.passed
    assert check.fault == "RuntimeError: Triton Error [CUDA]: invalid argument"
    json.dumps(check.to_dict(), allow_nan=False)
    for wrong in (one * 1.1, one * float("nan"), torch.ones(3)):
        check = bench.gpu_checks.check_kernel(make(answer=lambda w=wrong: (w,), expected=lambda: (one,)))
        assert not check.passed
        json.dumps(check.to_dict(), allow_nan=False)


def test_a_gpu_is_timed_by_its_own_events(bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 7))

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.milliseconds = next(clock)

        def synchronize(self) -> None:
            pass

        def elapsed_time(self, end: Event) -> float:
            return end.milliseconds - self.milliseconds

    current: list[torch.device] = []

    @contextmanager
    def on(device: torch.device) -> Iterator[None]:
        current.append(device)
        yield

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "AMD Instinct MI300X")
    properties = SimpleNamespace(major=9, minor=4)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)
    monkeypatch.setattr(bench.gpu_device, "FLUSHED_BYTES", 16)
    gpu = bench.gpu_device.CudaDevice(CPU)
    launched: list[int] = []
    assert gpu.seconds(lambda: launched.append(1), 4) == pytest.approx([0.007] * 4)
    assert len(launched) == 4 + bench.gpu_device.WARM_UPS
    assert current == [CPU], "events are of the current device"
    assert gpu.peaks.name == "MI300X"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H200", "H200 SXM"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM 80 GB"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("AMD Instinct MI300X", "MI300X"),
        ("Some other GPU", None),
    ],
)
def test_peaks_by_the_name_of_a_gpu(bench: SimpleNamespace, name: str, found: str | None) -> None:
    peaks = bench.gpu_device.peaks_of(name)
    assert (peaks.name if peaks else None) == found


@pytest.mark.gpu
def test_checks_on_a_gpu(bench: SimpleNamespace, tmp_path: Path) -> None:
    """What the benchmark asks before it measures, at full size."""
    assert bench.gpu.main(["--out", str(tmp_path), "--parts", "environment,kernels,windows"]) == 0

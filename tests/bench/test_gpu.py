"""The benchmark for GPUs from end to end, on a CPU that says it is one; and on a GPU where there is one."""

from __future__ import annotations

import functools
import importlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from umlite import Segmenter
from umlite.engines.cuda import CudaEngine
from umlite.engines.options import EngineOptions
from umlite.engines.setup import Setup
from umlite.kernels.implementations import FAST
from umlite.volume.reading import read_scan
from umlite.weights.loading import load_model

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of the benchmark, which lies beside the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    names = ("gpu", "gpu_cases", "gpu_device", "gpu_gate", "gpu_times")
    return SimpleNamespace(**{name: importlib.import_module(f"bench.{name}") for name in names})


def pretend(bench: SimpleNamespace, name: str = "NVIDIA H100 80GB HBM3") -> Any:
    """The CPU as a GPU, timed by the host's clock."""

    class Pretended(bench.gpu_device.Device):  # type: ignore[name-defined, misc]
        def seconds(self, launch: Callable[[], object], repeats: int) -> list[float]:
            taken = []
            for _ in range(repeats):
                start = time.perf_counter()
                launch()
                taken.append(time.perf_counter() - start)
            return taken

    return Pretended(name, CPU)


@pytest.fixture
def engine_on_the_cpu(monkeypatch: pytest.MonkeyPatch, bench: SimpleNamespace) -> None:
    """The engine for GPUs, on the CPU, in place of the one that would be chosen there."""

    def choose(asked: EngineOptions) -> Setup:
        precision = "float32" if asked.precision == "auto" else asked.precision
        return Setup(replace(asked, precision=precision, batch=2), CPU)

    def build(weights: Path, setup: Setup, notify: Callable[[str], None]) -> CudaEngine:
        return CudaEngine(*load_model(weights, FAST), setup, notify)

    monkeypatch.setattr(bench.gpu, "choose_setup", choose)
    monkeypatch.setattr(bench.gpu, "build_engine", build)
    monkeypatch.setattr(bench.gpu, "Segmenter", functools.partial(Segmenter, kernels="torch"))


def run(bench: SimpleNamespace, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, dict]:
    code = bench.gpu.main(["--quick", *map(str, arguments)], pretend(bench))
    printed = capsys.readouterr().out
    return code, printed, json.loads(printed.splitlines()[-1])


@pytest.mark.usefixtures("engine_on_the_cpu")
def test_from_end_to_end(
    bench: SimpleNamespace, capsys: pytest.CaptureFixture[str], scan_file: Path, small_weights: Path
) -> None:
    code, printed, report = run(bench, capsys, "--scan", scan_file, "--weights", small_weights)
    assert code == 0, printed
    assert "Nothing of this has run on a GPU before" in printed
    assert report["gpu"] == {"name": "NVIDIA H100 80GB HBM3", "peaks_known": True, "ever_run_on_a_gpu": False}
    assert report["passed"]
    checks = [c["name"] for c in report["checks"]]
    files = {path.stem for path in (ROOT / "umlite" / "kernels" / "triton").glob("*.py")}
    operations = {path.stem for path in (ROOT / "umlite" / "kernels").glob("*.py")} & files - {"__init__"}
    for kernel in operations - {"gather", "resample", "decide"} | {"gather_windows", "decide_bits", "resample_hu"}:
        assert any(name.startswith(f"{kernel},") for name in checks), f"{kernel} is not checked"
    assert {"small in float32, largest", "small in float16, root mean square"} <= set(checks)
    for row in report["kernels"]:
        assert row["of_bandwidth"] == pytest.approx(row["gb_s"] / 3350)
    (window,) = report["windows"]
    assert window["ratio"] == pytest.approx(
        window["seconds"]["reference"]["median"] / window["seconds"]["batch"]["median"]
    )
    (scan,) = report["scans"]
    assert scan["ratio"] > 0
    for head in ("| kernel |", "| window |", "| scan |"):
        assert head in printed


def test_the_phantom_is_a_scan(bench: SimpleNamespace, tmp_path: Path) -> None:
    scan = read_scan(bench.gpu.phantom(tmp_path / "phantom.nii.gz", 6.0))
    assert min(scan.shape) > 10


@pytest.mark.usefixtures("engine_on_the_cpu")
def test_nothing_is_timed_where_a_kernel_is_wrong(
    bench: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    small_weights: Path,
) -> None:
    monkeypatch.setattr(bench.gpu_cases, "norm_act", lambda x, *_: x.clone())
    code, printed, report = run(bench, capsys, "--weights", small_weights)
    assert code == 1
    assert not report["passed"]
    assert "kernels" not in report
    assert {c["name"].split(",")[0] for c in report["checks"] if not c["passed"]} == {"norm_act"}
    assert "FAILED" in printed


def test_without_a_gpu(bench: SimpleNamespace, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.gpu.main(["--quick"]) == 2
    printed = capsys.readouterr()
    assert "torch sees none here" in printed.err
    assert not printed.out


def test_a_check_fails_by_error_by_nan_and_by_runs_that_differ(bench: SimpleNamespace) -> None:
    answers = iter([1.0, 1.0, 1.0 + 1e-6])
    make = functools.partial(bench.gpu_cases.Case, "kernel", launch=lambda: None, tolerance=1e-3, bytes=1)
    one = torch.ones(2)
    good = make(answer=lambda: (one,), expected=lambda: (one,))
    assert bench.gpu_gate.check_kernel(good).passed
    racing = make(answer=lambda: (one * next(answers),), expected=lambda: (one,))
    assert "differ" in str(bench.gpu_gate.check_kernel(racing))

    def broken() -> tuple[torch.Tensor, ...]:
        raise RuntimeError("Triton Error [CUDA]:\n  invalid argument")

    check = bench.gpu_gate.check_kernel(make(answer=broken, expected=lambda: (one,)))
    assert not check.passed
    assert check.fault == "RuntimeError: Triton Error [CUDA]: invalid argument"
    json.dumps(check.to_dict(), allow_nan=False)
    for wrong in (one * 1.1, one * float("nan"), torch.ones(3)):
        check = bench.gpu_gate.check_kernel(make(answer=lambda w=wrong: (w,), expected=lambda: (one,)))
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


def test_a_gpu_without_a_data_sheet_gets_no_shares(bench: SimpleNamespace) -> None:
    gpu = pretend(bench, "Some other GPU")
    case = next(c for c in bench.gpu_cases.cases(CPU, 8) if c.flop)
    (row,) = bench.gpu_times.kernel_times(gpu, [case], 1)
    assert "of_bandwidth" not in row
    assert bench.gpu_times.kernel_table([row])[-1].count("|") == 7


@pytest.mark.gpu
def test_checks_on_a_gpu(bench: SimpleNamespace, small_weights: Path) -> None:
    """What the benchmark asks before it measures, at full size."""
    gpu = bench.gpu_device.find_gpu("cuda")
    assert gpu is not None, "this test needs a GPU"
    options = SimpleNamespace(side=96)
    checks = bench.gpu.check(gpu, [small_weights], options)
    assert not [str(c) for c in checks if not c.passed]

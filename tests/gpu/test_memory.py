"""How many windows fit, from shapes alone, and what a full memory looks like."""

from __future__ import annotations

import pytest
import torch

from support.samples import small_model
from umlite.errors import DeviceError
from umlite.gpu import memory as gpu_memory
from umlite.gpu.features import WindowFeatures, bytes_of_one_window
from umlite.gpu.memory import MOST_WINDOWS, activation_bytes, is_out_of_memory, windows_at_a_time
from umlite.gpu.memory_ladder import MemoryLadder
from umlite.kernels.implementations import FAST
from umlite.machine.memory import available_bytes, check_memory
from umlite.models.config import HeadConfig, NetworkConfig, SwinUNETRConfig, UNetConfig
from umlite.models.universal import UniversalModel

GB = 10**9


@pytest.mark.parametrize(
    ("free", "windows"), [(0, 1), (-GB, 1), (2 * GB, 1), (int(2.5 * GB), 2), (5 * GB, 4), (500 * GB, MOST_WINDOWS)]
)
def test_windows_at_a_time(free: int, windows: int) -> None:
    assert windows_at_a_time(free, GB) == windows


def test_activations_are_counted_while_they_live() -> None:
    size = 4 * 1000
    assert activation_bytes(lambda x: x + 1, (1000,), torch.float32) == 2 * size
    assert (
        activation_bytes(lambda x: ((x + 1) + 1) + 1, (1000,), torch.float32) == 3 * size
    )  # each frees the one before
    assert activation_bytes(lambda x: (x + 1) + (x + 2), (1000,), torch.float32) == 4 * size
    assert activation_bytes(lambda x: x.view(10, 100).t(), (1000,), torch.float32) == size
    assert activation_bytes(lambda x: x.add_(1).relu_(), (1000,), torch.float32) == size
    assert activation_bytes(lambda x: x + 1, (1000,), torch.float16) == size


@pytest.mark.parametrize(("backbone", "least", "most"), [(UNetConfig(), 0.55, 1.2), (SwinUNETRConfig(), 0.4, 1.0)])
def test_a_published_window_takes_a_gigabyte_or_less_in_float16(
    backbone: UNetConfig | SwinUNETRConfig, least: float, most: float
) -> None:
    with torch.device("meta"):
        model = UniversalModel(NetworkConfig(backbone, HeadConfig(32)), FAST)
    one, four = (
        activation_bytes(WindowFeatures(model, torch.float16), (n, 1, 96, 96, 96), torch.float16) for n in (1, 4)
    )
    assert least < one / GB < most
    assert four == pytest.approx(4 * one, rel=0.05)


@pytest.mark.parametrize("backbone", ["unet", "segresnet"])
def test_of_one_window_with_its_logits(backbone: str) -> None:
    config = small_model(backbone, classes=5).config
    half, whole = (bytes_of_one_window(config, (16, 16, 16), dtype) for dtype in (torch.float16, torch.float32))
    logits = 5 * 4 * 16**3
    assert half - logits == pytest.approx((whole - logits) / 2, rel=0.05)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("Triton Error [CUDA]: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("miopenStatusAllocFailed"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_full_memory_by_its_error(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_full_memory_behind_another_error() -> None:
    error = RuntimeError("operation failed due to a previous error during capture")
    assert not is_out_of_memory(error)
    error.__context__ = torch.OutOfMemoryError("out of memory")
    assert is_out_of_memory(error)


def test_available_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Free on the device, and what torch holds unused: 3 of 5 GB."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (10 * GB, 24 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 5 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 2 * GB)
    device = torch.device("cuda")
    assert available_bytes(device) == 13 * GB
    assert available_bytes(device, 6 * GB) == 4 * GB
    assert available_bytes(device, 100 * GB) == 13 * GB


def test_a_limit_is_a_share_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[tuple[float, int]] = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (10 * GB, 20 * GB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *given: shares.append(given))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    gpu_memory.limit_memory(torch.device("cuda"), 5 * GB)
    gpu_memory.limit_memory(torch.device("cuda", 1), 50 * GB)
    assert shares == [(0.25, 2), (1.0, 1)], "torch refuses a device without an index here"


def test_what_torch_keeps_unused_is_free_for_the_next_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (1 * GB, 20 * GB))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 4 * GB)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 16 * GB)
    check_memory(12 * GB, torch.device("cuda"), "Blending")
    with pytest.raises(DeviceError, match=r"13\.00 GB are free"):
        check_memory(14 * GB, torch.device("cuda"), "Blending")


def test_the_ladder_asks_once_frees_before_each_try_and_remembers() -> None:
    asked, freed, said, sizes = [], [], [], []

    def compute(first: int, last: int) -> None:
        sizes.append(last - first)
        if last - first > 1:
            raise torch.OutOfMemoryError

    ladder = MemoryLadder(0, lambda: asked.append(1) or 4, lambda: freed.append(1), said.append)
    assert ladder.run(5, compute) == 5
    assert ladder.run(2, compute) == 2
    assert sizes == [4, 2, 1, 1, 1, 1, 1, 1, 1]
    assert (len(asked), len(freed), len(said)) == (1, 2, 2)
    assert said[1].endswith("does not hold 2 windows: 1 at a time from now on.")


def test_the_ladder_lets_go_of_what_a_failed_try_computed() -> None:
    """Else the next try would find as little memory as the one before."""
    alive: list[int] = []

    class Held:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def compute(first: int, last: int) -> None:
        held = Held()
        if last - first > 1:
            raise torch.OutOfMemoryError
        del held

    ladder = MemoryLadder(4, lambda: 4, lambda: alive and pytest.fail("something is held"), lambda _: None)
    assert ladder.run(4, compute) == 4

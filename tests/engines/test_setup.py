"""What is chosen on a GPU, with the reasons; there need not be one."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from umlite.engines.build import build_engine
from umlite.engines.cuda import CudaEngine
from umlite.engines.options import EngineOptions
from umlite.engines.setup import Setup, choose_setup
from umlite.engines.torch import TorchEngine
from umlite.errors import DeviceError, RequestError


class PretendGpu:
    """Makes `choose_setup` see a GPU, with Triton or why not."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        patch.setattr("umlite.engines.setup._choose_device", lambda _: (torch.device("cuda"), "device cuda: found"))
        self.capability((9, 0))
        self.triton(True, "Triton 3.7.1")

    def capability(self, found: tuple[int, int]) -> None:
        self.patch.setattr(torch.cuda, "get_device_capability", lambda _device=None: found)

    def triton(self, found: bool, which: str) -> None:
        self.patch.setattr("umlite.kernels.triton.available", lambda: (found, which))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> PretendGpu:
    return PretendGpu(monkeypatch)


def reason(setup: Setup, start: str) -> str:
    (found,) = [r for r in setup.reasons if r.startswith(start)]
    return found


@pytest.mark.usefixtures("gpu")
def test_a_gpu_runs_triton_kernels_in_float16() -> None:
    setup = choose_setup()
    assert setup.options == EngineOptions("cuda", kernels="native", precision="float16", threads=setup.threads)
    assert "never run on a GPU" in reason(setup, "kernels native: Triton 3.7.1")
    assert "free memory" in reason(setup, "batch")
    assert "float32" in reason(setup, "precision float16")
    assert reason(setup, "no torch.compile")
    assert "else on the host" in reason(setup, "resampling: scans on the GPU")


@pytest.mark.usefixtures("gpu")
def test_what_is_asked_for_on_a_gpu() -> None:
    asked = EngineOptions("cuda", precision="float32", threads=2, batch=3, compile=True, max_vram=8 * 10**9)
    assert choose_setup(asked).options == replace(asked, kernels="native")
    setup = choose_setup(EngineOptions(kernels="torch"))
    assert (setup.options.kernels, setup.options.precision, setup.options.batch) == ("torch", "float32", 1)
    assert reason(setup, "resampling on the host")
    with pytest.raises(RequestError, match="float32"):
        choose_setup(EngineOptions(kernels="torch", precision="float16"))


@pytest.mark.parametrize("emulated", [True, False])
def test_bfloat16_only_where_it_is_asked_for_and_not_emulated(
    gpu: PretendGpu, monkeypatch: pytest.MonkeyPatch, emulated: bool
) -> None:
    assert gpu
    monkeypatch.setattr(torch.cuda, "device", lambda _device: nullcontext())
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or not emulated
    )
    assert choose_setup().options.precision == "float16"
    if emulated:
        with pytest.raises(RequestError, match="emulates"):
            choose_setup(EngineOptions(precision="bfloat16"))
    else:
        assert choose_setup(EngineOptions(precision="bfloat16")).options.precision == "bfloat16"


def test_without_triton_torch_operations_run_and_the_plan_says_so(gpu: PretendGpu) -> None:
    gpu.triton(False, "Triton has no build for win32")
    setup = choose_setup()
    assert (setup.options.kernels, setup.options.precision, setup.options.batch) == ("torch", "float32", 1)
    assert "no build for win32" in reason(setup, "kernels torch")
    with pytest.raises(DeviceError, match="win32"):
        choose_setup(EngineOptions(kernels="native"))
    with pytest.raises(DeviceError, match=r"torch\.compile needs Triton"):
        choose_setup(EngineOptions(compile=True))


def test_an_old_gpu_runs_torch_operations(gpu: PretendGpu) -> None:
    gpu.capability((7, 5))
    assert "8.0, and this GPU has 7.5" in reason(choose_setup(), "kernels torch")


def test_of_amd_no_compute_capability_is_asked(gpu: PretendGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu.capability((0, 0))
    monkeypatch.setattr(torch.version, "hip", "7.0")
    assert (choose_setup().options.kernels, choose_setup().options.precision) == ("native", "float16")


def test_the_memory_format_is_what_the_devices_convolutions_read(
    gpu: PretendGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpu
    assert choose_setup().channels_last
    assert reason(choose_setup(), "memory format channels last")
    assert not choose_setup(EngineOptions(precision="float32")).channels_last
    assert not choose_setup(EngineOptions(kernels="torch")).channels_last
    monkeypatch.setattr(torch.version, "hip", "7.0")
    assert not choose_setup().channels_last
    assert "MIOpen" in reason(choose_setup(), "memory format channels first")


def test_a_limit_of_gpu_memory_is_for_gpus() -> None:
    with pytest.raises(RequestError, match="device is cpu"):
        choose_setup(EngineOptions(device="cpu", kernels="torch", max_vram=10**9))
    with pytest.raises(RequestError, match="at least 1 byte"):
        choose_setup(EngineOptions(device="cpu", kernels="torch", max_vram=0))


@pytest.mark.usefixtures("gpu")
def test_the_reference_keeps_no_limit() -> None:
    with pytest.raises(RequestError, match="reference"):
        choose_setup(EngineOptions(engine="reference", max_vram=10**9))


def test_the_engine_of_each_setup(small_weights: Path) -> None:
    assert isinstance(
        build_engine(small_weights, Setup(EngineOptions(kernels="torch"), torch.device("cpu"))), TorchEngine
    )
    elsewhere = torch.device("meta")  # stands for a GPU: native kernels that are not the CPU's
    assert isinstance(
        build_engine(small_weights, Setup(EngineOptions(kernels="native", precision="float32"), elsewhere)), CudaEngine
    )

"""The whole engine on CUDA tensors without numbers: a mixed device, dtype or shape anywhere raises.

A CPU build of torch cannot move a tensor to such a device: `transfer`, through which everything goes, is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from support.paper_cuda import DEVICE, paper_cuda
from support.samples import small_card
from umlite.engines.build import build_engine
from umlite.engines.cuda import CudaEngine
from umlite.engines.engine import Engine
from umlite.engines.options import EngineOptions
from umlite.engines.reference import ReferenceEngine
from umlite.engines.setup import Setup
from umlite.engines.torch import TorchEngine
from umlite.gpu import transfer
from umlite.kernels import window_attention
from umlite.kernels.implementations import FAST, REFERENCE, TORCH
from umlite.machine import memory
from umlite.models.config import HeadConfig, NetworkConfig, SegResNetConfig, SwinUNETRConfig, UNetConfig
from umlite.models.universal import UniversalModel
from umlite.progress import no_progress
from umlite.sweep import runner as window_runner
from umlite.sweep.sweep import finished_parts
from umlite.sweep.window_field import lay_out_windows
from umlite.volume import preparation
from umlite.volume.reading import read_scan
from umlite.windows import Size

NETWORKS = [
    NetworkConfig(UNetConfig((16, 32, 64, 128)), HeadConfig(5, groups=4)),
    NetworkConfig(UNetConfig((16, 32, 64, 128)), HeadConfig(5, "per_class", groups=4)),
    NetworkConfig(SwinUNETRConfig(feature_size=12), HeadConfig(5, groups=4)),
    NetworkConfig(SwinUNETRConfig(feature_size=12), HeadConfig(5, "per_class", groups=4)),
    NetworkConfig(SegResNetConfig(), HeadConfig.linear(5, 16)),
]
IDS = ["unet", "unet, controllers", "swin_unetr", "swin_unetr, controllers", "segresnet"]
STARTS = [(0, 0, 0), (0, 0, 8), (4, 0, 8), (8, 8, 8), (2, 4, 6)]
CLASSES = [3, 0, 4]


class _NoNumbers(TorchFunctionMode):
    """An integer asked of a tensor is 0: the one thing that the engine reads back is whether sums are finite."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is Tensor.__int__:
            return 0
        return function(*args, **(kwargs or {}))


class _OneDevice(TorchDispatchMode):
    """Our own operations say only what shape they answer: what a kernel would get is looked at here."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        devices = {str(x.device) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        if func.namespace == "umlite" and len(devices) > 1:
            raise RuntimeError(f"{func} got tensors of more than one device: {sorted(devices)}")
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    """Names of our own operations as they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.namespace == "umlite":
            self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))


PLAIN = EngineOptions(kernels="torch", precision="float32", batch=1)


@pytest.fixture
def crossings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Within: paper CUDA. Gives the crossings as they happen."""
    seen: list[str] = []
    _forget_tables()
    with paper_cuda() as mode, _NoNumbers(), _OneDevice():

        def to_device(x: Tensor, device: torch.device) -> Tensor:
            seen.append("to device")
            with mode:
                return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=device)

        def to_host(x: Tensor) -> Tensor:
            seen.append("to host")
            return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="cpu")

        def module_to_device(module: nn.Module, device: torch.device) -> nn.Module:
            tensors = {name: to_device(tensor, device) for name, tensor in module.state_dict(keep_vars=True).items()}
            module.load_state_dict(tensors, assign=True)
            return module

        def planes_to_device(
            parts: Iterable[Tensor], shape: Sequence[int], dtype: torch.dtype, device: torch.device
        ) -> Tensor:
            seen.append("to device")
            assert sum(len(part) for part in parts) == shape[0]
            return torch.empty(*shape, dtype=dtype, device=device)

        monkeypatch.setattr(transfer, "to_device", to_device)
        monkeypatch.setattr(transfer, "planes_to_device", planes_to_device)
        monkeypatch.setattr(transfer, "to_host", to_host)
        monkeypatch.setattr(transfer, "to_host_later", lambda x: lambda: to_host(x))
        monkeypatch.setattr(transfer, "module_to_device", module_to_device)
        yield seen
    _forget_tables()


def _forget_tables() -> None:
    """Tables that are kept would be of tensors without numbers, and outlive these."""
    window_attention.relative_position_index.cache_clear()
    window_attention._window_mask.cache_clear()


def make(network: NetworkConfig, *, precision: str = "float16", batch: int = 2) -> CudaEngine:
    """An engine whose tensors have become CUDA tensors on their way to the device."""
    options = EngineOptions(kernels="native", precision=precision, batch=batch)
    setup = Setup(options, DEVICE, channels_last=precision != "float32")
    with unset_fake_temporarily():  # modules of paper tensors cannot change their dtype
        model = UniversalModel(network, FAST).eval().requires_grad_(False)
        engine = CudaEngine(model, small_card(model, window=(64, 64, 64)), setup)
    engine._importance_on_host = torch.empty(64, 64, 64)
    return engine


def make_plain(engine: type[TorchEngine] | type[ReferenceEngine], network: NetworkConfig) -> Engine:
    """An engine of torch operations, as `build_engine` makes it for a GPU without Triton."""
    kernels = TORCH if engine is TorchEngine else REFERENCE
    with unset_fake_temporarily():
        model = UniversalModel(network, kernels).eval().requires_grad_(False)
        return engine(
            model,
            small_card(model, window=(64, 64, 64)),
            Setup(PLAIN, DEVICE),
        )


def paper(*shape: int, device: torch.device = DEVICE) -> Tensor:
    return torch.empty(*shape, device=device)


@pytest.mark.parametrize(("network", "batch"), [*((n, 1) for n in NETWORKS), *((n, 3) for n in NETWORKS[::2])])
def test_a_scan_stays_on_the_device(network: NetworkConfig, batch: int, crossings: list[str]) -> None:
    engine = make(network, batch=batch)
    assert engine.importance.device == DEVICE
    assert {p.device for p in engine.features.parameters()} == {DEVICE}
    crossings.clear()
    sums = paper(3, 72, 72, 80)[..., :72]
    engine.add_windows(paper(80, 80, 80), STARTS, CLASSES, sums, (0, 0, 0))
    bits = engine.decide(sums, ("a", "b", "c"))
    assert crossings == ["to device", "to device"], "only where windows begin crosses, not what is computed"
    assert (bits.device, bits.dtype, bits.shape) == (DEVICE, torch.int32, (72, 72, 72))


@pytest.mark.parametrize("sums_device", [DEVICE, torch.device("cpu")], ids=["sums on the GPU", "sums on the host"])
def test_a_sweep_over_a_scan(sums_device: torch.device, crossings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A padded scan from the host, a slab that moves on, a window of constant input, weights for probabilities."""
    monkeypatch.setattr(window_runner, "constant_windows", lambda *_: {(0, 0, 0): 0.0})
    monkeypatch.setattr(memory, "free_bytes", lambda _device: None)
    engine = make(NETWORKS[0])
    engine.sums_device = sums_device
    field = lay_out_windows(engine, torch.empty(150, 60, 70), 0.5)
    assert field.voxels.device == DEVICE
    runner = window_runner.WindowRunner(engine, field.voxels, CLASSES, 0.5, len(field.starts), no_progress)
    crossings.clear()
    planes = 0
    for part in finished_parts(engine, field, field.starts, runner, weighted=True):
        assert part.total is not None
        bits = engine.decide(part.sums, ("a", "b", "c"))
        assert part.sums.device == part.total.device == bits.device == sums_device
        planes += bits.shape[0]
    assert planes == 150
    assert runner.run + runner.reused == len(field.starts)
    if sums_device == DEVICE:
        assert "to host" not in crossings, "logits and sums stay where they are"


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_scan_is_resampled_on_the_device(
    dtype: type[np.generic], crossings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its voxels as stored cross, and the volume lies there for the windows as it is."""
    engine = make(NETWORKS[0])
    engine.sums_device = DEVICE
    with unset_fake_temporarily():
        hu = np.zeros((70, 50, 60), dtype)
        scan = read_scan(nib.Nifti1Image(hu, np.diag([-3.0, 3.5, 4.0, 1])))
    seen: list[Tensor] = []

    def box(voxels: Tensor) -> tuple[Size, Size]:
        seen.append(voxels)
        return (1, 0, 2), (50, 44, 59)

    monkeypatch.setattr(preparation, "foreground_box", box)  # where the foreground is takes numbers
    crossings.clear()
    with _Operations() as called:
        volume = engine.prepare(scan)
    assert called.names == ["umlite::resample_hu"]
    assert crossings == ["to device"]
    assert [(x.device, x.dtype, x.shape) for x in seen] == [(DEVICE, torch.float32, volume.frame.model.shape)]
    assert (volume.voxels.device, volume.voxels.shape) == (DEVICE, (49, 44, 57))
    field = lay_out_windows(engine, volume.voxels, 0.5)
    assert (field.voxels.device, field.voxels.shape) == (DEVICE, (64, 64, 64))


@pytest.mark.usefixtures("crossings")
@pytest.mark.parametrize(
    ("network", "precision"),
    [(NETWORKS[0], "float32"), (NETWORKS[0], "float16"), (NETWORKS[0], "bfloat16"), (NETWORKS[2], "float32")],
    ids=["unet, float32", "unet, float16", "unet, bfloat16", "swin_unetr, float32"],
)
def test_logits_of_windows_from_the_host(network: NetworkConfig, precision: str) -> None:
    engine = make(network, precision=precision)
    assert {p.dtype for p in engine.features.backbone.parameters()} == {getattr(torch, precision)}
    assert {p.dtype for p in engine.features.generator.parameters()} == {torch.float32}
    logits = engine.window_logits(torch.empty(3, 1, 64, 64, 64), CLASSES)
    assert (logits.device, logits.dtype, logits.shape) == (DEVICE, torch.float32, (3, 3, 64, 64, 64))
    sums = paper(3, 70, 64, 64)
    engine.add_logits(logits[0], (6, 0, 0), sums, (0, 0, 0))


@pytest.mark.usefixtures("crossings")
def test_the_feature_is_as_the_backbone_leaves_it() -> None:
    engine = make(NETWORKS[0])
    feature, scale, shift, image = engine._run(torch.empty(2, 1, 64, 64, 64, device=DEVICE, dtype=torch.float16))
    assert feature.dtype == torch.float16
    assert (scale.dtype, shift.dtype, image.dtype) == (torch.float32,) * 3


@pytest.mark.parametrize("network", NETWORKS[::2], ids=IDS[::2])
def test_sums_on_the_host(network: NetworkConfig, crossings: list[str]) -> None:
    engine = make(network, batch=2)
    engine.sums_device = torch.device("cpu")
    sums = torch.empty(3, 80, 80, 80)
    crossings.clear()
    engine.add_windows(paper(80, 80, 80), STARTS, CLASSES, sums, (0, 0, 0))
    assert crossings.count("to host") == 3 + len(STARTS)  # a part's logits at once; each window's again, which is free
    engine.add_logits(engine.window_logits(torch.empty(1, 1, 64, 64, 64), CLASSES)[0], (0, 0, 0), sums, (0, 0, 0))
    assert engine.decide(sums, ("a", "b", "c")).device.type == "cpu"


@pytest.mark.usefixtures("crossings")
@pytest.mark.parametrize("network", NETWORKS[::2], ids=IDS[::2])
@pytest.mark.parametrize("engine", [TorchEngine, ReferenceEngine])
def test_engines_of_torch_operations_need_no_kernels_of_ours(
    engine: type[TorchEngine] | type[ReferenceEngine], network: NetworkConfig
) -> None:
    made = make_plain(engine, network)
    sums = paper(3, 80, 80, 80)
    with _Operations() as called:
        made.add_windows(paper(80, 80, 80), STARTS[:1], CLASSES, sums, (0, 0, 0))
        assert made.decide(sums, ("a", "b", "c")).device == DEVICE
    assert called.names == []


def test_what_is_built_for_a_gpu_without_triton(monkeypatch: pytest.MonkeyPatch, small_weights: Path) -> None:
    """Of its operations none is ours, which would look for Triton on CUDA tensors."""
    monkeypatch.setattr(transfer, "to_device", lambda x, _device: x)
    monkeypatch.setattr(transfer, "module_to_device", lambda module, _device: module)
    engine = build_engine(small_weights, Setup(PLAIN, DEVICE))
    monkeypatch.undo()
    engine.setup = Setup(PLAIN, torch.device("cpu"))
    with _Operations() as called:
        engine.window_logits(torch.rand(1, 1, 16, 16, 16), [0])
    assert called.names == []


@pytest.mark.usefixtures("crossings")
def test_a_forgotten_transfer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests are for, done on purpose: the network stays on the host."""
    sums, volume = paper(3, 80, 80, 80), paper(80, 80, 80)
    move = transfer.module_to_device
    monkeypatch.setattr(transfer, "module_to_device", lambda module, _device: move(module, torch.device("cpu")))
    engine = make(NETWORKS[0])
    with pytest.raises(RuntimeError, match="device"):
        engine.add_windows(volume, STARTS, CLASSES, sums, (0, 0, 0))


@pytest.mark.usefixtures("crossings")
@pytest.mark.parametrize("part", ["importance", "start", "volume"])
def test_an_argument_on_the_host_is_noticed(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make(NETWORKS[0])
    sums, volume = paper(3, 80, 80, 80), paper(80, 80, 80)
    if part == "importance":
        engine.importance = torch.empty(64, 64, 64)
    elif part == "start":
        monkeypatch.setattr(engine, "_places", lambda starts: torch.tensor(starts))
    else:
        volume = torch.empty(80, 80, 80)
    with pytest.raises(RuntimeError, match="device"):
        engine.add_windows(volume, STARTS, CLASSES, sums, (0, 0, 0))


@pytest.mark.usefixtures("crossings")
def test_a_mixed_dtype_is_noticed() -> None:
    engine = make(NETWORKS[0])
    engine.dtype = torch.float32  # the windows', while the backbone stays in float16
    with pytest.raises(RuntimeError, match="type"):
        engine.window_logits(torch.empty(1, 1, 64, 64, 64), CLASSES)

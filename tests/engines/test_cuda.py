"""The engine for GPUs, run for values on the CPU: its operations have an implementation there too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from support.samples import KINDS, small_card, small_model
from umlite.engines import cuda as cuda_engine
from umlite.engines.cuda import CudaEngine
from umlite.engines.options import EngineOptions
from umlite.engines.reference import ReferenceEngine
from umlite.engines.setup import Setup
from umlite.errors import DeviceError, WeightsError
from umlite.gpu import transfer
from umlite.kernels.implementations import FAST
from umlite.models.universal import UniversalModel
from umlite.progress import no_notice
from umlite.sweep.sweep import blended_logits, decide_volume
from umlite.windows import window_at

CPU = torch.device("cpu")
CLASSES = [4, 1, 2]
STARTS = [(0, 0, 0), (8, 0, 5), (8, 3, 5), (1, 2, 3), (0, 0, 8)]


def engines(
    backbone: str = "unet",
    generator: str = "shared",
    *,
    precision: str = "float32",
    batch: int | None = 3,
    compile: bool = False,
    channels_last: bool = False,
    said: list[str] | None = None,
) -> tuple[ReferenceEngine, CudaEngine]:
    reference = small_model(backbone, generator, classes=5)
    fast = UniversalModel(reference.config, FAST).eval().requires_grad_(False)
    fast.load_state_dict(reference.state_dict())
    card = small_card(reference)
    options = EngineOptions(kernels="native", precision=precision, batch=batch, compile=compile)
    setup = Setup(options, CPU, channels_last=channels_last)
    notify = no_notice if said is None else said.append
    return ReferenceEngine(reference, card, setup), CudaEngine(fast, card, setup, notify)


def relative(found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Differences of [C, ...] in units of each class's standard deviation."""
    return (found - expected).abs().flatten(1) / expected.flatten(1).std(1, keepdim=True)


def layout_of(weight: torch.Tensor) -> bool | None:
    """Whether a convolution's weight is channels last; None where there is no telling."""
    if weight.ndim != 5 or weight.is_contiguous() == weight.is_contiguous(memory_format=torch.channels_last_3d):
        return None
    return not weight.is_contiguous()


def scan(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("backbone", "generator"), KINDS)
@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
def test_logits_of_windows(last: bool, backbone: str, generator: str) -> None:
    reference, engine = engines(backbone, generator, batch=2, channels_last=last)
    layouts = {
        layout_of(p) for n, p in engine.features.backbone.named_parameters() if "conv2.conv" in n or "ops.1" in n
    }
    assert layouts - {None} == {last}
    windows = scan(3 if backbone == "unet" else 2, 1, *engine.card.window)
    expected, found = (e.window_logits(windows, CLASSES).transpose(0, 1) for e in (reference, engine))
    assert found.dtype == torch.float32
    assert relative(found, expected).max() < 1e-3


@pytest.mark.parametrize("sides", [(16, 32, 24), (48, 16, 16)])
def test_windows_of_other_sizes(sides: tuple[int, int, int]) -> None:
    reference, engine = engines()
    windows = scan(2, 1, *sides)
    expected, found = (e.window_logits(windows, [3]).transpose(0, 1) for e in (reference, engine))
    assert relative(found, expected).max() < 1e-3


@pytest.mark.parametrize("batch", [1, 2, 8])
@pytest.mark.parametrize("origin", [(0, 0, 0), (-2, 0, -1)])
def test_windows_added_at_an_origin_into_a_part_of_a_buffer(batch: int, origin: tuple[int, int, int]) -> None:
    reference, engine = engines(batch=batch)
    volume = scan(24, 21, 26)
    buffer = torch.full((4, 30, 25, 30), 7.0)
    sums = buffer[:3, 2:28, :21, 1:28]
    expected = sums.clone()
    reference.add_windows(volume, STARTS, CLASSES, expected, origin)
    engine.add_windows(volume, STARTS, CLASSES, sums, origin)
    assert relative(sums, expected).max() < 1e-3
    touched = torch.zeros(26, 21, 27, dtype=torch.bool)
    for start in STARTS:
        touched[window_at(tuple(s - o for s, o in zip(start, origin, strict=True)), engine.card.window)] = True
    assert not touched.all()
    assert (sums[:, ~touched] == 7).all(), "voxels outside the windows changed"
    sums.fill_(7)
    assert (buffer == 7).all(), "voxels outside the part changed"


@pytest.mark.parametrize("backbone", ["unet", pytest.param("swin_unetr", marks=pytest.mark.slow), "segresnet"])
def test_a_scan(backbone: str) -> None:
    reference, engine = engines(backbone, batch=4)
    side = engine.card.window[0]
    voxels = scan(2 * side, side + 3, side - 4)
    names = ("a", "b", "c")
    expected, found = (blended_logits(e, voxels, CLASSES, 0.5) for e in (reference, engine))
    assert relative(found, expected).max() < 1e-3
    bits, _, _ = decide_volume(engine, voxels, CLASSES, names, 0.5)
    for k, name in enumerate(names):
        sure = (expected[k].abs() > 1e-3 * expected[k].std()).numpy()
        assert (bits.mask(name) == (expected[k] > 0).numpy())[sure].all()


def test_reused_windows_give_what_computed_ones_do() -> None:
    _, engine = engines()
    volume = torch.full((16, 16, 24), 0.5)
    logits = engine.window_logits(volume[None, None, ..., :16], CLASSES)[0]
    found, expected = torch.zeros(3, 16, 16, 24), torch.zeros(3, 16, 16, 24)
    engine.add_logits(logits, (0, 0, 8), found, (0, 0, 0))
    engine.add_windows(volume, [(0, 0, 8)], CLASSES, expected, (0, 0, 0))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_float16_in_the_backbone_alone() -> None:
    reference, engine = engines(precision="float16")
    windows = scan(3, 1, 16, 16, 16)
    expected, found = (e.window_logits(windows, CLASSES).transpose(0, 1) for e in (reference, engine))
    errors = relative(found, expected)
    assert 1e-5 < errors.square().mean().sqrt() < 0.02  # float16 has been used, and only rounds
    assert errors.max() < 0.15
    kinds = {name.split(".")[0]: p.dtype for name, p in engine.features.named_parameters()}
    assert kinds == {"backbone": torch.float16, "norm": torch.float32, "generator": torch.float32}
    assert {tensor.dtype for tensor in engine.features.head_layer} == {torch.float32}


def test_a_number_beyond_float16_is_an_error_and_float32_has_it() -> None:
    volume = scan(16, 16, 16)
    for precision in ("float32", "float16"):
        _, engine = engines(precision=precision)
        first = next(p for n, p in engine.features.named_parameters() if n.endswith("down_tr64.ops.1.conv1.weight"))
        first.mul_(6e4)  # the next norm takes any scale out again
        sums = torch.zeros(3, 16, 16, 16)
        engine.add_windows(volume, [(0, 0, 0)], CLASSES, sums, (0, 0, 0))
        if precision == "float32":
            engine.decide(sums, ("a", "b", "c"))
        else:
            with pytest.raises(WeightsError, match="try precision float32"):
                engine.decide(sums, ("a", "b", "c"))


def failing(monkeypatch: pytest.MonkeyPatch, engine: CudaEngine, fails: Callable[[int, int], bool]) -> list[int]:
    """Let the network find no memory where `fails(call number, windows)`; the sizes of all calls."""
    network, sizes = engine._network, []

    def run(windows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sizes.append(len(windows))
        if fails(len(sizes) - 1, len(windows)):
            raise torch.OutOfMemoryError("out of memory")
        return network(windows)

    monkeypatch.setattr(engine, "_network", run)
    return sizes


@pytest.mark.parametrize(
    ("batch", "failing_calls", "sizes"),
    [(4, {0}, [4, 2, 2, 1]), (4, {0, 1}, [4, 2, 1, 1, 1, 1, 1]), (2, {1}, [2, 2, 1, 1, 1]), (8, set(), [4, 1])],
)
def test_nothing_is_lost_where_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch, batch: int, failing_calls: set[int], sizes: list[int]
) -> None:
    said: list[str] = []
    _, engine = engines(batch=batch, said=said)
    _, plain = engines(batch=1)
    volume = scan(24, 21, 26)
    found, expected = torch.zeros(3, 24, 21, 26), torch.zeros(3, 24, 21, 26)
    plain.add_windows(volume, STARTS, CLASSES, expected, (0, 0, 0))
    asked = failing(monkeypatch, engine, lambda call, _size: call in failing_calls)
    engine.add_windows(volume, STARTS, CLASSES, found, (0, 0, 0))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert asked == sizes
    assert len(said) == len(failing_calls)


def test_sums_wait_on_the_host_where_one_window_does_not_fit_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    _, engine = engines(batch=4, said=said)
    _, plain = engines(batch=1)
    volume = scan(24, 21, 26)
    buffer = torch.zeros(4, 30, 21, 26)
    buffer[0] = 3
    sums, expected = buffer[1:, 2:26], torch.zeros(3, 24, 21, 26)
    plain.add_windows(volume, STARTS, CLASSES, expected, (0, 0, 0))
    sizes = failing(monkeypatch, engine, lambda _call, size: size > 1 or bool(sums.untyped_storage().nbytes()))
    engine.add_windows(volume, STARTS, CLASSES, sums, (0, 0, 0))
    assert sizes == [4, 2, 1, 1, 1, 1, 1, 1]
    torch.testing.assert_close(sums, expected, rtol=1e-4, atol=1e-4)
    assert (buffer[0] == 3).all()
    assert len(said) == 3
    assert "wait on the host" in said[-1]
    assert engine.sums_device == CPU


def test_host_sums_from_the_start() -> None:
    _, engine = engines(batch=2)
    volume = scan(24, 21, 26)
    found, expected = torch.zeros(3, 24, 21, 26), torch.zeros(3, 24, 21, 26)
    engine.add_windows(volume, STARTS, CLASSES, expected, (0, 0, 0))
    assert engine._add_on_host(volume, STARTS, CLASSES, found, (0, 0, 0)) == len(STARTS)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_one_window_too_large_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine = engines()
    failing(monkeypatch, engine, lambda _call, _size: True)
    with pytest.raises(DeviceError, match="does not hold one window"):
        engine.add_windows(scan(16, 16, 16), [(0, 0, 0)], [0], torch.zeros(1, 16, 16, 16), (0, 0, 0))
    with pytest.raises(DeviceError, match=r"the GPU said: out of memory\)\. .* or use the CPU"):
        engine.window_logits(scan(1, 1, 16, 16, 16), [0])


def test_other_errors_are_not_taken_for_a_full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine = engines()

    def broken(_windows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(engine, "_network", broken)
    with pytest.raises(RuntimeError, match="illegal"):
        engine.window_logits(scan(1, 1, 16, 16, 16), [0])


def test_graphs_that_fail_are_given_up_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    reference, engine = engines(said=said)

    class Unrecordable:
        def __call__(self, _x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(engine, "_graphs", Unrecordable())
    windows = scan(2, 1, 16, 16, 16)
    expected, found = (e.window_logits(windows, CLASSES).transpose(0, 1) for e in (reference, engine))
    assert relative(found, expected).max() < 1e-3
    assert said == ["Continuing without CUDA graphs, which failed: operation not permitted when stream is capturing"]


@pytest.mark.slow
def test_compiled_equals_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole graphs of fixed shapes; aot_eager traces as the default does and generates no code."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    reference, engine = engines(compile=True, batch=2)
    windows = scan(3, 1, *engine.card.window)
    expected, found = (e.window_logits(windows, CLASSES).transpose(0, 1) for e in (reference, engine))
    assert relative(found, expected).max() < 1e-3


def test_moved_to_host_frees_and_restores_the_whole_buffer() -> None:
    buffer = torch.arange(60.0).view(3, 4, 5)
    part = buffer[:, 1:3]
    with torch.inference_mode(), transfer.moved_to_host(part) as waiting:
        assert buffer.untyped_storage().nbytes() == 0
        assert torch.equal(waiting[0, 0], torch.arange(5.0, 10.0))
        waiting += 100
    expected = torch.arange(60.0).view(3, 4, 5)
    expected[:, 1:3] += 100
    assert torch.equal(buffer, expected)


def on_a_gpu_with(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """From here on the engine takes its device for a GPU with so many bytes free."""
    monkeypatch.setattr(cuda_engine, "can_record", lambda _device: True)
    monkeypatch.setattr(cuda_engine, "available_bytes", lambda _device, limit: min(free, limit or free))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)


def test_large_sums_are_on_the_host_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    _, engine = engines(said=said)
    engine.sums_device = torch.device("cuda")
    on_a_gpu_with(monkeypatch, free=10**9)
    engine.place_sums(10**8)
    assert engine.sums_device.type == "cuda"
    assert not said
    engine.place_sums(10**9)
    engine.place_sums(10**8)
    assert engine.sums_device == CPU
    assert said == ["The GPU's memory does not hold 1.0 GB of sums and a window: sums go to the host."]


@pytest.mark.parametrize(("windows", "chosen"), [(0.5, 1), (3, 2), (100, 4)])
def test_the_batch_is_chosen_by_free_memory_when_the_first_windows_come(
    monkeypatch: pytest.MonkeyPatch, windows: float, chosen: int
) -> None:
    _, engine = engines(batch=None)
    on_a_gpu_with(monkeypatch, free=int(windows * engine._one_window))
    sizes = failing(monkeypatch, engine, lambda _call, _size: False)
    engine.window_logits(scan(5, 1, 16, 16, 16), [0])
    assert engine._ladder.most == chosen
    assert max(sizes) == chosen
    assert sum(sizes) == 5


def test_a_limit_lowers_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine = engines(batch=None)
    limited = replace(engine.setup.options, max_vram=3 * engine._one_window)
    engine.setup = replace(engine.setup, options=limited)
    on_a_gpu_with(monkeypatch, free=100 * engine._one_window)
    engine.window_logits(scan(1, 1, 16, 16, 16), [0])
    assert engine._ladder.most == 2


def test_a_setup_without_a_batch_runs_one_window_at_a_time_where_there_is_no_gpu() -> None:
    _, engine = engines(batch=None)
    engine.window_logits(scan(2, 1, 16, 16, 16), [0])
    assert engine._ladder.most == 1

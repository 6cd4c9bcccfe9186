"""The engine for GPUs on its own kernels, in Triton's interpreter: a small scan from windows to bits."""

from __future__ import annotations

import pytest
import torch

from support.samples import WIDTHS, small_card

pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")

from support.gpu.interpreter import interpreted
from support.gpu.operations import TRITON, on_gpu
from umlite.engines import cuda as cuda_engine
from umlite.engines.cuda import CudaEngine
from umlite.engines.options import EngineOptions
from umlite.engines.reference import ReferenceEngine
from umlite.engines.setup import Setup
from umlite.gpu import features as window_features
from umlite.kernels import decide as decide_module
from umlite.kernels.triton import blend as blend_launcher
from umlite.kernels.triton import fused_heads as heads_launcher
from umlite.kernels.triton import gather as gather_launcher
from umlite.kernels.triton import tiles
from umlite.models.config import HeadConfig, NetworkConfig, UNetConfig
from umlite.models.universal import UniversalModel

CPU = torch.device("cpu")
WINDOW, STARTS, ORIGIN = (16, 8, 16), [(0, 0, 0), (6, 0, 3)], (-1, 0, 0)
CLASSES = [2, 0]


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation of an engine that is made; large blocks, since the interpreter's time goes by programs."""
    for name in ("gather_windows", "fused_heads", "blend"):
        monkeypatch.setattr(cuda_engine, name, on_gpu(getattr(cuda_engine, name)))
    monkeypatch.setattr(window_features, "channel_scale_shift", on_gpu(window_features.channel_scale_shift))
    monkeypatch.setattr(decide_module, "decide_bits", on_gpu(decide_module.decide_bits))
    choose = heads_launcher.choose
    monkeypatch.setattr(heads_launcher, "choose", lambda *about: choose(*about)._replace(block=1 << 11))
    monkeypatch.setattr(tiles, "ELEMENTS", 1 << 15)
    for launcher in (blend_launcher, gather_launcher):
        monkeypatch.setattr(launcher, "BLOCK", 1 << 11)


def networks() -> tuple[UniversalModel, UniversalModel]:
    """A narrow network with random weights on the reference's operations, and the same on Triton's."""
    head = HeadConfig(3, "shared", embedding_width=24, gap_width=32, groups=8, **WIDTHS["shared"])
    config = NetworkConfig(UNetConfig((8, 8, 8, 16)), head)
    torch.manual_seed(0)
    plain, fast = UniversalModel(config), UniversalModel(config, TRITON)
    for tensor in plain.state_dict().values():
        if tensor.ndim > 1:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
        else:
            tensor.add_(torch.randn_like(tensor), alpha=0.1)
    fast.load_state_dict(plain.state_dict())
    return plain.eval().requires_grad_(False), fast.eval().requires_grad_(False)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "worst", "rms"), [("float32", 1e-3, 1e-4), ("float16", 0.3, 0.03)])
@torch.inference_mode()
def test_a_small_scan(monkeypatch: pytest.MonkeyPatch, precision: str, worst: float, rms: float) -> None:
    plain, fast = networks()
    card = small_card(plain, window=WINDOW)
    setup = Setup(EngineOptions(kernels="native", precision=precision, batch=2), CPU)
    reference = ReferenceEngine(plain, card, Setup(EngineOptions(engine="reference", batch=1), CPU))
    volume = torch.rand(22, 9, 19, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(2, 23, 9, 19)
    reference.add_windows(volume, STARTS, CLASSES, expected, ORIGIN)
    engine = CudaEngine(fast, card, setup)
    as_on_a_gpu(monkeypatch)
    with interpreted():
        sums = torch.zeros(2, 23, 9, 24)[..., :19]
        engine.add_windows(volume, STARTS, CLASSES, sums, ORIGIN)
        bits = engine.decide(sums, ("a", "b"))
        again = torch.zeros_like(expected)
        logits = engine.window_logits(volume[None, None, :16, :8, :16], CLASSES)[0]
        engine.add_logits(logits, STARTS[0], again, ORIGIN)
        once = torch.zeros_like(expected)
        engine.add_windows(volume, STARTS[:1], CLASSES, once, ORIGIN)
    deviation = expected.flatten(1).std(1)[:, None, None, None]
    error = (sums - expected) / deviation
    assert error.abs().max() < worst
    assert error.square().mean().sqrt() < rms
    assert torch.equal(again, once), "a reused window must add the same numbers"
    sure = expected.abs() > worst * deviation
    for k in range(2):
        assert torch.equal((bits >> k & 1).bool()[sure[k]], (expected[k] > 0)[sure[k]])

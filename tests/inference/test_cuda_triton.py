"""The engine for GPUs on its own kernels, in Triton's interpreter: a small scan from windows to bits."""

from __future__ import annotations

import pytest
import torch
from samples import small_manifest, small_model

pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")

from kernels.gpu_operations import TRITON, on_gpu
from kernels.interpreter import interpreted

from umlite.inference import cuda_engine, window_features
from umlite.inference.cuda_engine import CudaEngine
from umlite.inference.plan import Plan
from umlite.inference.reference_engine import ReferenceEngine
from umlite.kernels import decide as decide_module
from umlite.kernels.triton import norm_act as norm_launcher
from umlite.models.universal import UniversalModel

CPU = torch.device("cpu")
STARTS, ORIGIN, CLASSES = [(0, 0, 0), (6, 0, 3), (1, 2, 3)], (-1, 0, 0), [4, 1, 2]


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation of an engine that is made; large blocks, since the interpreter's time goes by programs."""
    for name in ("gather_windows", "fused_heads_accumulate", "blend"):
        monkeypatch.setattr(cuda_engine, name, on_gpu(getattr(cuda_engine, name)))
    monkeypatch.setattr(window_features, "channel_scale_shift", on_gpu(window_features.channel_scale_shift))
    monkeypatch.setattr(decide_module, "decide_bits", on_gpu(decide_module.decide_bits))
    monkeypatch.setattr(norm_launcher, "TILE", 1 << 15)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("float16", 0.15)])
@torch.inference_mode()
def test_a_small_scan(monkeypatch: pytest.MonkeyPatch, precision: str, tolerance: float) -> None:
    plain = small_model(classes=5)
    fast = UniversalModel(plain.config, TRITON).eval().requires_grad_(False)
    fast.load_state_dict(plain.state_dict())
    manifest = small_manifest(plain)
    plan = Plan("fast", CPU, 2, False, (), "native", precision)
    reference = ReferenceEngine(plain, manifest, Plan("reference", CPU, 1, False, ()))
    volume = torch.rand(23, 18, 20, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(3, 24, 18, 20)
    reference.add_windows(volume, STARTS, CLASSES, expected, ORIGIN)
    engine = CudaEngine(fast, manifest, plan)
    as_on_a_gpu(monkeypatch)
    with interpreted():
        sums = torch.zeros(3, 24, 18, 24)[..., :20]
        engine.add_windows(volume, STARTS, CLASSES, sums, ORIGIN)
        bits = engine.decide(sums, ("a", "b", "c"))
        again = torch.zeros_like(expected)
        for start in STARTS[:1]:
            logits = engine.window_logits(volume[None, None, :16, :16, :16], CLASSES)[0]
            engine.add_logits(logits, start, again, ORIGIN)
        once = torch.zeros_like(expected)
        engine.add_windows(volume, STARTS[:1], CLASSES, once, ORIGIN)
    deviation = expected.flatten(1).std(1)[:, None, None, None]
    assert ((sums - expected).abs() / deviation).max() < tolerance
    assert torch.equal(again, once), "a reused window must add the same numbers"
    sure = expected.abs() > tolerance * deviation
    for k in range(3):
        assert torch.equal((bits >> k & 1).bool()[sure[k]], (expected[k] > 0)[sure[k]])

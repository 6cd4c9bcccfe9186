"""The fast engine against the reference, and the reference against MONAI's sliding window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference

from support.samples import KINDS, small_card, small_model
from umlite.engines.build import build_engine
from umlite.engines.options import EngineOptions
from umlite.engines.reference import ReferenceEngine
from umlite.engines.setup import choose_setup
from umlite.engines.torch import TorchEngine
from umlite.errors import DeviceError, RequestError
from umlite.kernels.implementations import FAST
from umlite.models.universal import UniversalModel
from umlite.sweep.sweep import blended_logits, decide_volume
from umlite.weights.loading import save_model

SHAPES = [(40, 33, 48), (5, 40, 16), (16, 16, 16), (1, 1, 1)]


def engines(backbone: str, generator: str, **options):
    reference = small_model(backbone, generator, classes=5)
    fast = UniversalModel(reference.config, FAST).eval().requires_grad_(False)
    fast.load_state_dict(reference.state_dict())
    card = small_card(reference)
    return (
        ReferenceEngine(reference, card, choose_setup(EngineOptions("cpu", "reference"))),
        TorchEngine(fast, card, choose_setup(EngineOptions("cpu", **options))),
    )


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference in units of each class's standard deviation."""
    error = (found - expected).abs().flatten(1).amax(1)
    return float((error / expected.flatten(1).std(1).clamp_min(1e-6)).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("backbone", "generator"), KINDS)
def test_fast_equals_reference(backbone: str, generator: str, shape) -> None:
    reference, fast = engines(backbone, generator, batch=3)
    voxels = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    classes, names = [4, 1, 2], ("a", "b", "c")
    expected, found = (blended_logits(engine, voxels, classes, 0.5) for engine in (reference, fast))
    assert found.shape == (3, *shape)
    if voxels.numel() > 1:
        assert relative_error(found, expected) < 1e-3
    sure = (expected.abs() > 1e-3 * expected.std()).numpy()
    expected_bits, expected_windows, _ = decide_volume(reference, voxels, classes, names, 0.5)
    bits, windows, _ = decide_volume(fast, voxels, classes, names, 0.5)
    assert windows == expected_windows
    for k, name in enumerate(names):
        assert np.array_equal(expected_bits.mask(name), (expected[k] > 0).numpy())
        assert np.array_equal(expected_bits.mask(name)[sure[k]], bits.mask(name)[sure[k]])


@pytest.mark.parametrize("overlap", [0, 0.5, 0.75])
@pytest.mark.parametrize("shape", SHAPES)
def test_reference_blends_as_monai(shape, overlap: float) -> None:
    engine, _ = engines("unet", "shared")
    voxels = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        options = {"overlap": overlap, "mode": "gaussian", "sigma_scale": 0.125}
        expected = sliding_window_inference(voxels[None, None], engine.card.window, 1, engine.model, **options)[0]
    found = blended_logits(engine, voxels, range(5), overlap)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backbone", ["unet", "swin_unetr", "segresnet"])
def test_batches_and_single_windows_agree(backbone: str) -> None:
    _, single = engines(backbone, "shared", batch=1)
    _, batched = engines(backbone, "shared", batch=3)
    windows = torch.rand(4, 1, *single.card.window, generator=torch.Generator().manual_seed(2))
    expected, found = single.window_logits(windows, [0, 3]), batched.window_logits(windows, [0, 3])
    assert relative_error(found.transpose(0, 1), expected.transpose(0, 1)) < 1e-3


def test_leaving_classes_out_changes_no_other_class() -> None:
    reference, fast = engines("unet", "shared")
    voxels = torch.rand(20, 20, 20, generator=torch.Generator().manual_seed(3))
    everything = blended_logits(reference, voxels, range(5), 0.5)
    assert torch.equal(blended_logits(reference, voxels, [3, 1], 0.5), everything[[3, 1]])
    everything = blended_logits(fast, voxels, range(5), 0.5)
    assert relative_error(blended_logits(fast, voxels, [3, 1], 0.5), everything[[3, 1]]) < 1e-5


@pytest.mark.parametrize(
    "backbone", ["unet", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("swin_unetr", "segresnet"))]
)
def test_compiled_equals_eager(tmp_path: Path, backbone: str) -> None:
    model = small_model(backbone)
    path = tmp_path / "net.safetensors"
    save_model(path, model.state_dict(), small_card(model))
    eager = build_engine(path, choose_setup(EngineOptions("cpu", "fast")))
    compiled = build_engine(path, choose_setup(EngineOptions("cpu", compile=True, batch=2)))
    windows = torch.rand(3, 1, *eager.card.window, generator=torch.Generator().manual_seed(4))
    expected, found = eager.window_logits(windows, [0, 5]), compiled.window_logits(windows, [0, 5])
    assert relative_error(found.transpose(0, 1), expected.transpose(0, 1)) < 1e-3


def test_a_failure_of_torch_s_compiler_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def fails(*_: torch.Tensor) -> None:
        raise TorchDynamoException("No working C++ compiler found\n\nSet TORCHDYNAMO_VERBOSE=1")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fails)
    model = small_model()
    path = tmp_path / "net.safetensors"
    save_model(path, model.state_dict(), small_card(model))
    engine = build_engine(path, choose_setup(EngineOptions("cpu", compile=True)))
    with pytest.raises(RequestError, match=r"^torch.compile failed \(No working C\+\+ compiler found\)\. .*without"):
        engine.window_logits(torch.rand(1, 1, *engine.card.window), [0])


def test_plans_say_why_and_refuse_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = choose_setup()
    assert setup.options.engine == "fast"
    assert any("device" in reason for reason in setup.reasons)
    for arguments, error in (
        ({"engine": "warp"}, RequestError),
        ({"device": "cuda:99"}, DeviceError),
        ({"device": "gpu"}, DeviceError),
        ({"batch": 0}, RequestError),
        ({"engine": "reference", "compile": True}, RequestError),
    ):
        with pytest.raises(error):
            choose_setup(EngineOptions(**arguments))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeviceError, match="compiler"):
        choose_setup(EngineOptions(device="cpu", compile=True))

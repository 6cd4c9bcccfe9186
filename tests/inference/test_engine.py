"""The fast engine against the reference, and the reference against MONAI's sliding window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from samples import small_manifest, small_model

from umlite.errors import DeviceError, RequestError, WeightsError
from umlite.inference.blending import Blend
from umlite.inference.engine import FastEngine, ReferenceEngine, build_engine
from umlite.inference.plan import choose_plan
from umlite.kernels.sets import FAST
from umlite.models.universal import UniversalModel
from umlite.weights.loading import save_model

KINDS = [("unet", "shared"), ("unet", "embedding"), ("unet", "per_class"), ("swin_unetr", "shared")]
SHAPES = [(40, 33, 48), (5, 40, 16), (16, 16, 16), (1, 1, 1)]


def engines(backbone: str, generator: str, **options):
    reference = small_model(backbone, generator, classes=5)
    fast = UniversalModel(reference.config, FAST).eval().requires_grad_(False)
    fast.load_state_dict(reference.state_dict())
    manifest = small_manifest(reference)
    return (
        ReferenceEngine(reference, manifest, choose_plan("reference", "cpu")),
        FastEngine(fast, manifest, choose_plan("fast", "cpu", **options)),
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
    classes = [4, 1, 2]
    expected, found = reference.blend(voxels, classes, 0.5), fast.blend(voxels, classes, 0.5)
    assert found.windows == expected.windows
    assert found.logits().shape == (3, *shape)
    if voxels.numel() > 1:
        assert relative_error(found.logits(), expected.logits()) < 1e-3
    torch.testing.assert_close(found.importance(), expected.importance(), atol=1e-6, rtol=1e-5)
    names = ("a", "b", "c")
    sure = (expected.logits().abs() > 1e-3 * expected.logits().std()).numpy()
    for k, name in enumerate(names):
        expected_mask, found_mask = expected.decide(names).mask(name), found.decide(names).mask(name)
        assert np.array_equal(expected_mask, (expected.logits()[k] > 0).numpy())
        assert np.array_equal(expected_mask[sure[k]], found_mask[sure[k]])


@pytest.mark.parametrize("overlap", [0, 0.5, 0.75])
@pytest.mark.parametrize("shape", SHAPES)
def test_reference_blends_as_monai(shape, overlap: float) -> None:
    engine, _ = engines("unet", "shared")
    voxels = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        options = {"overlap": overlap, "mode": "gaussian", "sigma_scale": 0.125}
        expected = sliding_window_inference(voxels[None, None], engine.manifest.window, 1, engine.model, **options)[0]
    found = engine.blend(voxels, range(5), overlap).logits()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backbone", ["unet", "swin_unetr"])
def test_batches_and_single_windows_agree(backbone: str) -> None:
    _, single = engines(backbone, "shared", batch=1)
    _, batched = engines(backbone, "shared", batch=3)
    windows = torch.rand(4, 1, *single.manifest.window, generator=torch.Generator().manual_seed(2))
    expected, found = single.window_logits(windows, [0, 3]), batched.window_logits(windows, [0, 3])
    assert relative_error(found.transpose(0, 1), expected.transpose(0, 1)) < 1e-3


def test_leaving_classes_out_changes_no_other_class() -> None:
    reference, fast = engines("unet", "shared")
    voxels = torch.rand(20, 20, 20, generator=torch.Generator().manual_seed(3))
    everything = reference.blend(voxels, range(5), 0.5).logits()
    assert torch.equal(reference.blend(voxels, [3, 1], 0.5).logits(), everything[[3, 1]])
    everything = fast.blend(voxels, range(5), 0.5).logits()
    assert relative_error(fast.blend(voxels, [3, 1], 0.5).logits(), everything[[3, 1]]) < 1e-5


@pytest.mark.parametrize("number", [0, 1])
def test_progress_counts_every_window(number: int) -> None:
    engine = engines("unet", "shared", batch=4)[number]
    seen: list[tuple[int, int]] = []
    blend = engine.blend(torch.rand(20, 30, 16), [0], 0.5, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (blend.windows, blend.windows)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.parametrize("number", [0, 1])
def test_an_empty_volume_runs_no_window(number: int) -> None:
    blend = engines("unet", "shared")[number].blend(torch.zeros(0, 0, 0), [0, 1], 0.5)
    assert blend.windows == 0
    assert blend.decide(("a", "b")).bits.shape == (0, 0, 0)


def test_more_than_32_classes_get_wider_integers() -> None:
    names = tuple(f"c{i}" for i in range(40))
    weighted = torch.zeros(40, 2, 1, 1)
    weighted[[31, 32, 39], 0] = 1.0
    bits = Blend(weighted, lambda: torch.ones(2, 1, 1), 1).decide(names)
    assert {n for n in names if bits.mask(n).any()} == {"c31", "c32", "c39"}
    assert not bits.mask("c31")[1].any()
    too_many = Blend(torch.zeros(65, 1, 1, 1), lambda: torch.ones(1, 1, 1), 1)
    with pytest.raises(RequestError, match="64"):
        too_many.decide(tuple(f"c{i}" for i in range(65)))


def test_exactly_zero_is_not_present() -> None:
    weighted = torch.tensor([0.0, 1e-30, -1e-30, -0.0]).view(1, 4, 1, 1)
    mask = Blend(weighted, lambda: torch.ones(4, 1, 1), 1).decide(("a",)).mask("a")
    assert mask.flatten().tolist() == [False, True, False, False]


def test_numbers_that_are_none_are_an_error_not_an_empty_mask() -> None:
    weighted = torch.zeros(2, 3, 1, 1)
    weighted[1, 1] = torch.nan
    with pytest.raises(WeightsError, match=r"NaN.*liver"):
        Blend(weighted, lambda: torch.ones(3, 1, 1), 1).decide(("spleen", "liver"))


@pytest.mark.parametrize("backbone", ["unet", pytest.param("swin_unetr", marks=pytest.mark.slow)])
def test_compiled_equals_eager(tmp_path: Path, backbone: str) -> None:
    model = small_model(backbone)
    path = tmp_path / "net.safetensors"
    save_model(path, model.state_dict(), small_manifest(model))
    eager = build_engine(path, choose_plan("fast", "cpu"))
    compiled = build_engine(path, choose_plan("fast", "cpu", compile=True, batch=2))
    windows = torch.rand(3, 1, *eager.manifest.window, generator=torch.Generator().manual_seed(4))
    expected, found = eager.window_logits(windows, [0, 5]), compiled.window_logits(windows, [0, 5])
    assert relative_error(found.transpose(0, 1), expected.transpose(0, 1)) < 1e-3


def test_plans_say_why_and_refuse_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = choose_plan()
    assert plan.engine == "fast"
    assert any("device" in reason for reason in plan.reasons)
    for arguments, error in (
        ({"engine": "warp"}, RequestError),
        ({"device": "cuda:99"}, DeviceError),
        ({"device": "gpu"}, DeviceError),
        ({"batch": 0}, RequestError),
        ({"engine": "reference", "compile": True}, RequestError),
    ):
        with pytest.raises(error):
            choose_plan(**arguments)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeviceError, match="compiler"):
        choose_plan(device="cpu", compile=True)

"""The native CPU engine against the reference: windows, sums in place, reused windows, window sizes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from support.samples import KINDS, small_card, small_model
from umlite.engines.build import build_engine
from umlite.engines.cpu import CpuEngine
from umlite.engines.engine import Engine
from umlite.engines.options import EngineOptions
from umlite.engines.reference import ReferenceEngine
from umlite.engines.setup import choose_setup
from umlite.errors import DeviceError
from umlite.sweep.sweep import blended_logits, decide_volume
from umlite.weights.loading import save_model

BOUND = 3e-4  # of a class's standard deviation: rounding, amplified by norms over few voxels


def engines(backbone: str = "unet", generator: str = "shared") -> tuple[Engine, CpuEngine]:
    model = small_model(backbone, generator, classes=5)
    card = small_card(model)
    reference = ReferenceEngine(model, card, choose_setup(EngineOptions("cpu", "reference")))
    return reference, CpuEngine(model, card, choose_setup(EngineOptions(device="cpu", kernels="native")))


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    error = (found - expected).abs().flatten(1).amax(1)
    return float((error / expected.flatten(1).std(1).clamp_min(1e-6)).max())


@pytest.mark.parametrize(("backbone", "generator"), KINDS)
def test_windows_equal_the_reference(backbone: str, generator: str) -> None:
    reference, native = engines(backbone, generator)
    windows = torch.rand(2, 1, *native.card.window, generator=torch.Generator().manual_seed(0))
    for classes in ([0, 1, 2, 3, 4], [3]):
        expected, found = reference.window_logits(windows, classes), native.window_logits(windows, classes)
        for one, other in zip(found, expected, strict=True):
            assert relative_error(one, other) < BOUND


def test_volumes_equal_the_reference() -> None:
    reference, native = engines()
    voxels = torch.rand(40, 33, 48, generator=torch.Generator().manual_seed(1))
    voxels[:, :, 20:] = 0.25  # windows of constant input go another way
    classes, names = [4, 1, 2], ("a", "b", "c")
    expected = blended_logits(reference, voxels, classes, 0.5)
    assert relative_error(blended_logits(native, voxels, classes, 0.5), expected) < BOUND
    bits, windows, _ = decide_volume(native, voxels, classes, names, 0.5)
    assert windows.reused > 0
    sure = expected.abs() > BOUND * expected.flatten(1).std(1)[:, None, None, None]
    for k, name in enumerate(names):
        assert bool(((torch.from_numpy(bits.mask(name)) == (expected[k] > 0)) | ~sure[k]).all())


def test_a_reused_window_changes_no_bit() -> None:
    _, native = engines()
    window = native.card.window
    volume = torch.rand(*(side + 3 for side in window), generator=torch.Generator().manual_seed(2))
    start, origin = (1, 2, 3), (0, 1, 2)
    sums = torch.rand(2, *(side + 4 for side in window), generator=torch.Generator().manual_seed(3))
    direct, reused = sums.clone(), sums.clone()
    native.add_windows(volume, [start], [0, 4], direct, origin)
    part = volume[tuple(slice(s, s + side) for s, side in zip(start, window, strict=True))]
    native.add_logits(native.window_logits(part[None, None], [0, 4])[0], start, reused, origin)
    assert torch.equal(direct, reused)
    untouched = direct == sums
    x, y, z = (slice(s - o, s - o + side) for s, o, side in zip(start, origin, window, strict=True))
    untouched[:, x, y, z] = True
    assert bool(untouched.all())


def test_other_window_sizes_than_the_manifest_s() -> None:
    reference, native = engines()
    for shape in ((24, 16, 32), native.card.window):
        windows = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(4))
        expected = reference.window_logits(windows, [0, 1])
        assert relative_error(native.window_logits(windows, [0, 1])[0], expected[0]) < BOUND


def test_the_plan_is_a_line_per_layer() -> None:
    _, native = engines()
    names = [row["layer"] for row in native.layers()]
    assert "up_tr64.1" in names
    assert len(names) == len(set(names))


def test_less_memory_means_smaller_weights_and_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umlite.cpu.unet.NativeUNet.weight_limit_bytes", 1 << 20)  # what halving it leaves matters
    reference, native = engines()
    card = native.card
    setup = choose_setup(EngineOptions(device="cpu", kernels="native", max_ram=1))
    small = CpuEngine(small_model(classes=5), card, setup)
    assert small.setup.weight_limit_bytes is not None
    assert small.setup.weight_limit_bytes < 1 << 20
    assert "packed weights" in small.setup.reasons[-1]
    assert small.layers() != native.layers()
    windows = torch.rand(1, 1, *card.window, generator=torch.Generator().manual_seed(0))
    assert relative_error(small.window_logits(windows, [0]), reference.window_logits(windows, [0])) < BOUND
    ample = CpuEngine(
        small_model(classes=5), card, choose_setup(EngineOptions(device="cpu", kernels="native", max_ram=1 << 40))
    )
    assert ample.setup.weight_limit_bytes == 1 << 20


def test_the_backbone_is_dropped_and_loaded_again_for_another_window() -> None:
    reference, native = engines()
    model = small_model(classes=5)
    lean = CpuEngine(model, native.card, native.setup, reload=lambda: small_model(classes=5))
    assert not list(model.backbone.parameters())
    for shape in (native.card.window, (24, 16, 32)):
        windows = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(1))
        assert torch.equal(lean.window_logits(windows, [0]), native.window_logits(windows, [0]))
        assert relative_error(lean.window_logits(windows, [0]), reference.window_logits(windows, [0])) < BOUND


def test_without_a_compiler_torch_takes_over_and_says_so(
    small_weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from umlite.cpu import libraries, prebuilt

    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    monkeypatch.setattr(prebuilt, "BUILT", tmp_path / "built")  # as in an installation from source
    for state in ("_loaded", "_failed", "_built"):
        monkeypatch.setattr(libraries, state, {})
    said: list[str] = []
    setup = choose_setup(EngineOptions(device="cpu"), said.append)
    assert setup.options.kernels == "torch"
    assert len(said) == 1
    assert "slower than on compiled kernels: CC is set to" in said[0]
    assert any("CC is set to" in reason for reason in setup.reasons)
    assert build_engine(small_weights, setup).window_logits(torch.rand(1, 1, 16, 16, 16), [0]).isfinite().all()
    with pytest.raises(DeviceError, match="CC is set to"):
        choose_setup(EngineOptions(device="cpu", kernels="native"))


def test_weights_are_packed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    path = tmp_path / "net.safetensors"
    save_model(path, model.state_dict(), small_card(model))
    setup = choose_setup(EngineOptions(device="cpu", kernels="native"))
    first = build_engine(path, setup)
    from umlite.cpu import assembly

    monkeypatch.setattr(assembly, "pack", lambda *_: pytest.fail("packed again"))
    again = build_engine(path, setup)
    window = torch.rand(1, 1, *first.card.window, generator=torch.Generator().manual_seed(5))
    assert torch.equal(first.window_logits(window, [0]), again.window_logits(window, [0]))


@pytest.mark.kernels
def test_a_scan_does_not_wait_for_torch_to_import_its_compiler() -> None:
    program = """
import sys
import nibabel as nib
import numpy as np
from umlite import Segmenter

segmenter = Segmenter("demo", device="cpu", kernels="native", threads=1)
hu = np.full((30, 30, 30), 40, np.int16)
segmenter.segment(nib.Nifti1Image(hu, np.diag([3.0, 3.0, 3.0, 1.0])), ["liver"])
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr

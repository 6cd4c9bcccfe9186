"""A scan's way to the model's grid where the windows run: for values on a CPU, with the GPU's kernel interpreted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from support.samples import small_card, small_model
from umlite.engines.cuda import CudaEngine
from umlite.engines.options import EngineOptions
from umlite.engines.setup import Setup
from umlite.errors import DeviceError, InputError
from umlite.gpu import preparation as device_preparation
from umlite.gpu import transfer
from umlite.progress import no_notice
from umlite.volume import voxels
from umlite.volume.preparation import Volume, prepare_volume
from umlite.volume.reading import Scan, read_scan

SHAPE = (19, 24, 16)
AFFINES = {
    "RAS": np.diag([2.4, 2.7, 5.0]),
    "LPS": np.diag([-2.4, -2.4, 3.0]),
    "PIR": np.array([[0, 0, 2.1], [-3.9, 0, 0], [0, -2.9, 0]]),
    "SLA": np.array([[0, -2.6, 0], [0, 0, 3.3], [4.5, 0, 0]]),
    "oblique": nib.eulerangles.euler2mat(0.2, -0.1, 0.35) @ np.diag([-2.8, -2.9, 4.0]),
    "sheared": np.array([[2.9, 0.2, 0], [0, 2.9, 0.7], [0, 0, 4.0]]),
    "the model's": np.diag([-3.0, -3.0, 3.0]),
}
EVERY_AFFINE = pytest.mark.parametrize("name", AFFINES)


def image(name: str, dtype: type[np.generic] = np.int16, order: str = "F") -> nib.Nifti1Image:
    """A block of tissue in air, off centre, in another place of each axis."""
    hu = np.full(SHAPE, -1000.0)
    hu[3:14, 5:22, 2:11] = np.random.default_rng(0).uniform(-300, 400, (11, 17, 9))
    return nib.Nifti1Image(hu.astype(dtype, order=order), nib.affines.from_matvec(AFFINES[name], (-33.5, 12.25, 700)))


def engine(said: list[str] | None = None, max_ram: int | None = None) -> CudaEngine:
    model = small_model(classes=2)
    options = EngineOptions(kernels="native", precision="float32", batch=1, max_ram=max_ram)
    setup = Setup(options, torch.device("cpu"))
    return CudaEngine(model, small_card(model), setup, no_notice if said is None else said.append)


def on_host(scan: Scan, engine: CudaEngine) -> Volume:
    return prepare_volume(scan, engine.card.spacing_mm, engine.card.hu_range)


def assert_equal(found: Volume, expected: Volume, atol: float = 0.0) -> None:
    assert found.voxels.is_contiguous()
    assert (found.frame.start, found.frame.stop) == (expected.frame.start, expected.frame.stop)
    assert found.frame.axes == expected.frame.axes
    np.testing.assert_array_equal(found.affine, expected.affine)
    torch.testing.assert_close(found.voxels, expected.voxels, atol=atol, rtol=0)


@EVERY_AFFINE
@pytest.mark.parametrize(("dtype", "order", "atol"), [(np.int16, "F", 0.0), (np.float32, "C", 3e-6)])
def test_is_the_hosts(
    name: str, dtype: type[np.generic], order: str, atol: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan that is held, in parts of a plane or of several; it is not changed. The host takes the axes of a scan in
    C order the other way round, which rounds otherwise.
    """
    made = engine()
    scan = read_scan(image(name, dtype, order))
    before, expected = scan.hu.copy(), on_host(scan, made)
    for part in (1, 3000):
        monkeypatch.setattr(voxels, "_SLAB_BYTES", part)
        assert_equal(made.prepare(scan), expected, atol)
    np.testing.assert_array_equal(scan.hu, before)


@EVERY_AFFINE
def test_of_a_scan_that_stays_in_its_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sheared or not: on the device all of it is there."""
    made = engine()
    nib.save(image(name), tmp_path / "scan.nii.gz")
    expected = on_host(read_scan(tmp_path / "scan.nii.gz"), made)
    monkeypatch.setattr(voxels, "HELD_BYTES", 0)
    monkeypatch.setattr(voxels, "_SLAB_BYTES", 3000)
    monkeypatch.setattr(voxels, "read_array", lambda *_: pytest.fail("read as a whole"))
    scan = read_scan(tmp_path / "scan.nii.gz")
    assert not scan.is_held
    assert_equal(made.prepare(scan), expected)


def test_a_file_that_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxels, "HELD_BYTES", 0)
    said: list[str] = []
    nib.save(image("RAS"), tmp_path / "scan.nii")
    scan = read_scan(tmp_path / "scan.nii")
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.int16), scan.affine), tmp_path / "scan.nii")
    with pytest.raises(InputError, match="changed while it was read"):
        engine(said).prepare(scan)
    assert said == []


@EVERY_AFFINE
def test_with_the_gpus_kernel_interpreted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")
    from support.gpu.interpreter import interpreted
    from support.gpu.operations import on_gpu

    made = engine()
    scan = read_scan(image(name))
    expected = on_host(scan, made)
    calls: list[torch.dtype] = []
    kernel = on_gpu(device_preparation.resample_hu)

    def resample(volume: torch.Tensor, *about: Any) -> torch.Tensor:
        calls.append(volume.dtype)
        return kernel(volume, *about)

    monkeypatch.setattr(device_preparation, "resample_hu", resample)
    with interpreted():
        found = made.prepare(scan)
    assert calls == [torch.int16]
    assert_equal(found, expected, atol=3e-6)  # as of the kernel alone


@pytest.mark.parametrize("step", ["copy", "resample"])
def test_a_full_memory_is_told_and_the_host_takes_over(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    made = engine(said)
    alive: list[int] = []

    class Held:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def full(*_: object) -> None:
        held = Held()
        raise torch.OutOfMemoryError(f"CUDA out of memory beside {held}")

    where = (transfer, "planes_to_device") if step == "copy" else (device_preparation, "resample_hu")
    monkeypatch.setattr(*where, full)
    scan = read_scan(image("oblique"))
    tell = said.append
    made._tell = lambda sentence: (tell(sentence), alive and pytest.fail("the device's memory is still held"))
    assert_equal(made.prepare(scan), on_host(scan, made))
    assert len(said) == 1
    assert "does not hold image" in said[0]
    assert "on the host" in said[0]


def test_the_host_that_takes_over_keeps_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(device_preparation, "resample_hu", full)
    scan = read_scan(image("RAS"))
    with pytest.raises(DeviceError, match=r"of memory; 0\.01 MB may be taken") as caught:
        engine(max_ram=10_000).prepare(scan)
    assert "max_ram" in caught.value.about
    assert not engine(max_ram=1 << 30).prepare(scan).is_empty


def test_another_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(device_preparation, "resample_hu", broken)
    with pytest.raises(RuntimeError, match="illegal"):
        engine().prepare(read_scan(image("RAS")))


def test_nothing_but_air() -> None:
    air = nib.Nifti1Image(np.full(SHAPE, -1000, np.int16), np.diag([3, 3, 3.0, 1]))
    assert engine().prepare(read_scan(air)).is_empty

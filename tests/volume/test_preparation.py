from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, CropForeground, LoadImage, Orientation, ScaleIntensityRange, Spacing
from safetensors.numpy import load_file
from scipy.ndimage import gaussian_filter

from umlite.errors import DeviceError, InputError
from umlite.volume import preparation, voxels
from umlite.volume.preparation import Volume, prepare_volume, restore
from umlite.volume.reading import Scan, read_scan

MODEL_MM, HU = (1.5, 1.5, 1.5), (-175.0, 250.0)
MakeScan = Callable[[np.ndarray, np.ndarray], Scan]


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    return nib.eulerangles.euler2mat(*np.deg2rad(degrees))


def ct_like(shape: tuple[int, int, int]) -> np.ndarray:
    """Smooth HU of an off-centre body in air, with noise; int16."""
    rng = np.random.default_rng(int(np.prod(shape)))
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    body = (x - 0.1) ** 2 / 0.5 + (y + 0.1) ** 2 / 0.4 + 0.2 * z**2 < 1
    hu = np.where(body, 60, -1000) + gaussian_filter(rng.normal(0, 300, shape), 1)
    return hu.astype(np.int16)


AFFINES = {
    "RAS": np.diag([0.8, 0.9, 2.0]),
    "LPS": np.diag([-0.8, -0.8, 3.0]),
    "LAS": np.diag([-1.1, 0.7, 1.5]),
    "RPI": np.diag([0.7, -0.7, -5.0]),
    "PIR": np.array([[0, 0, 2.1], [-0.9, 0, 0], [0, -0.9, 0]]),
    "SLA": np.array([[0, -0.6, 0], [0, 0, 1.3], [2.5, 0, 0]]),
    "ALS": np.array([[0, -0.6, 0], [0.8, 0, 0], [0, 0, 2.5]]),
    "IPL": np.array([[0, 0, -0.9], [0, -0.8, 0], [-1.7, 0, 0]]),
    "oblique": rotation((12, -7, 20)) @ np.diag([0.8, 0.9, 2.0]),
    "oblique LPS": rotation((12, -7, 5)) @ np.diag([-0.8, -0.9, 2.0]),
    "sheared": np.array([[0.9, 0, 0], [0, 0.9, 0.5], [0, 0, 2.0]]),
    "sheared LPS": np.array([[-0.9, 0.1, 0], [0, -0.9, 0.5], [0, 0, 2.0]]),
    "model spacing": np.diag([-1.5, -1.5, 1.5]),
    "nearly model spacing": np.diag([-1.5005, -1.4996, 1.5]),
    "half": np.diag([0.75, 0.75, 0.75]),
}


def monai_steps() -> Compose:
    return Compose(
        [
            Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            Spacing(pixdim=MODEL_MM, mode="bilinear", align_corners=False),
            ScaleIntensityRange(*HU, 0.0, 1.0, clip=True),
            CropForeground(),
        ]
    )


def monai_restored(labels: np.ndarray, expected: MetaTensor, steps: Compose) -> np.ndarray:
    image = MetaTensor(torch.from_numpy(labels.astype(np.float64))[None], meta=expected.meta)
    image.applied_operations = [dict(operation) for operation in expected.applied_operations]
    for operation in image.applied_operations:
        operation["extra_info"] = {k: "nearest" if k == "mode" else v for k, v in operation["extra_info"].items()}
    return steps.inverse(image)[0].numpy()


def assert_as_monai(volume: Volume, expected: MetaTensor, atol: float = 1e-5) -> None:
    assert volume.voxels.shape == expected.shape[1:]
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-6)
    np.testing.assert_allclose(volume.voxels, expected[0].as_tensor(), atol=atol)
    assert volume.voxels.dtype == torch.float32
    assert volume.voxels.is_contiguous()


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("shape", [(41, 36, 23), (37, 40, 1)])
def test_preparation_and_restoring_are_monais(name: str, shape: tuple[int, int, int], scan_of: MakeScan) -> None:
    affine = nib.affines.from_matvec(AFFINES[name], (-33.5, 12.25, 700))
    hu = ct_like(shape)
    scan = scan_of(hu, affine)
    steps = monai_steps()
    expected = steps(MetaTensor(torch.from_numpy(hu.astype(np.float32))[None], affine=torch.from_numpy(affine)))
    volume = prepare_volume(scan, MODEL_MM, HU)
    assert_as_monai(volume, expected)
    np.testing.assert_array_equal(scan.hu, hu)

    labels = np.random.default_rng(0).integers(1, 200, volume.voxels.shape, dtype=np.uint32)
    restored = restore(labels, volume.frame)
    assert restored.shape == shape
    assert restored.dtype == np.uint32
    differ = restored != monai_restored(labels, expected, steps)
    model = volume.frame.model.affine
    index = np.stack([*np.meshgrid(*map(np.arange, shape), indexing="ij"), np.ones(shape)])
    position = np.einsum("ij,j...->i...", np.linalg.solve(model, affine), index)[:3]
    from_tie = np.abs(position - np.floor(position) - 0.5).min(axis=0)
    assert not (differ & (from_tie > 1e-5)).any()


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("shape", [(41, 36, 23), (37, 40, 1), (30, 1, 44)])
def test_a_scan_that_stays_in_its_file(
    name: str, shape: tuple[int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal to the last bit; read forward once, a plane at a time, unless the scan is sheared."""
    affine = nib.affines.from_matvec(AFFINES[name], (-33.5, 12.25, 700))
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(ct_like(shape), affine), path)
    expected = prepare_volume(read_scan(path, force_geometry=True), MODEL_MM, HU)
    for part in (1, 30_000):
        monkeypatch.setattr(voxels, "HELD_BYTES", 0)
        monkeypatch.setattr(voxels, "_SLAB_BYTES", part)
        scan = read_scan(path, force_geometry=True)
        if "sheared" not in name:
            monkeypatch.setattr(voxels, "read_array", lambda *_: pytest.fail("read as a whole"))
        volume = prepare_volume(scan, MODEL_MM, HU)
        assert torch.equal(volume.voxels, expected.voxels)
        assert volume.voxels.is_contiguous()
        np.testing.assert_array_equal(volume.affine, expected.affine)
        assert volume.frame.shape == expected.frame.shape


def test_a_file_that_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxels, "HELD_BYTES", 0)
    hu = ct_like((9, 8, 70))
    nib.save(nib.Nifti1Image(hu, np.eye(4)), tmp_path / "scan.nii")
    scan = read_scan(tmp_path / "scan.nii", force_geometry=True)
    hu[-1, -1, -1] += 1
    nib.save(nib.Nifti1Image(hu, np.eye(4)), tmp_path / "scan.nii")
    with pytest.raises(InputError, match="changed while it was read"):
        prepare_volume(scan, MODEL_MM, HU)


def test_tiny_voxels(scan_of: MakeScan) -> None:
    affine = nib.affines.from_matvec(np.diag([-0.03, 0.03, 0.04]), (1, 2, 3))
    hu = ct_like((150, 140, 130))
    expected = monai_steps()(MetaTensor(torch.from_numpy(hu.astype(np.float32))[None], affine=torch.from_numpy(affine)))
    assert_as_monai(prepare_volume(scan_of(hu, affine), MODEL_MM, HU), expected)


def test_affine_that_was_stored_as_float32(tmp_path: Path) -> None:
    """Its axes mix by up to 1e-4 voxels, which is ignored: at most 1e-4 of the steepest step in HU."""
    affine = nib.affines.from_matvec(rotation((12, -7, 20)) @ np.diag([0.7, 0.7, 1.0]), (-133, 12, 700))
    hu = ct_like((120, 110, 90))
    nib.save(nib.Nifti1Image(hu, affine), tmp_path / "scan.nii.gz")
    expected = monai_steps()(LoadImage(image_only=True, ensure_channel_first=True)(tmp_path / "scan.nii.gz"))
    volume = prepare_volume(read_scan(tmp_path / "scan.nii.gz", force_geometry=True), MODEL_MM, HU)
    step = max(np.abs(np.diff(hu.astype(float), axis=axis)).max() for axis in range(3))
    assert_as_monai(volume, expected, atol=3 * 1e-4 * step / 425)


@pytest.mark.parametrize("network", ["unet", "swinunetr"])
def test_golden_scan(network: str, shared: Path) -> None:
    golden = load_file(shared / "golden" / f"scan_example_ct_sm_{network}.safetensors")
    volume = prepare_volume(read_scan(shared / "data" / "example_ct_sm.nii.gz"), MODEL_MM, HU)
    assert tuple(volume.voxels.shape) == tuple(golden["image_shape"])
    np.testing.assert_allclose(volume.affine, golden["image_affine"], atol=1e-6)
    strided = golden["image_strided"].reshape(volume.voxels[::8, ::8, ::8].shape)
    np.testing.assert_allclose(volume.voxels[::8, ::8, ::8], strided, atol=1e-6)
    assert volume.voxels.double().sum().item() == pytest.approx(float(golden["image_sum"].item()), rel=1e-6)


def test_golden_masks_survive_the_way_back(shared: Path) -> None:
    scan = read_scan(shared / "data" / "example_ct_sm.nii.gz")
    frame = prepare_volume(scan, MODEL_MM, HU).frame
    bits = np.random.default_rng(0).integers(0, 2**32, frame.shape, dtype=np.uint32)
    restored = restore(bits, frame)
    for bit in (0, 13, 31):
        np.testing.assert_array_equal(
            restored >> bit & 1, restore((bits >> bit & 1).astype(bool), frame).astype(np.uint32)
        )


def test_nothing_but_air(scan_of: MakeScan) -> None:
    scan = scan_of(np.full((9, 8, 7), -1000, np.int16), np.diag([-1, -1, 3.0, 1]))
    volume = prepare_volume(scan, MODEL_MM, HU)
    assert volume.is_empty
    assert volume.voxels.shape == (0, 0, 0)
    restored = restore(np.zeros((0, 0, 0), np.uint32), volume.frame)
    assert restored.shape == (9, 8, 7)
    assert not restored.any()


def test_absurd_spacing_is_refused(scan_of: MakeScan) -> None:
    scan = scan_of(np.zeros((50, 50, 50), np.int16), np.diag([900, 900, 900.0, 1]))
    with pytest.raises(InputError, match="45000 x 45000 x 45000 mm"):
        prepare_volume(scan, MODEL_MM, HU)


def test_labels_of_another_shape_are_refused(scan_of: MakeScan) -> None:
    frame = prepare_volume(scan_of(ct_like((9, 8, 7)), np.eye(4)), MODEL_MM, HU).frame
    with pytest.raises(ValueError, match="expected labels of shape"):
        restore(np.zeros((2, 2, 2), np.uint8), frame)


def test_read_only_scan(scan_of: MakeScan) -> None:
    hu = ct_like((9, 8, 7)).astype(np.float32)
    hu.flags.writeable = False
    volume = prepare_volume(scan_of(hu, np.diag([1.5, 1.5, 1.5, 1])), MODEL_MM, HU)
    np.testing.assert_allclose(volume.voxels.max(), np.clip((hu.max() + 175) / 425, 0, 1), atol=1e-6)


angles = st.tuples(*[st.floats(-180, 180)] * 3)
spacings = st.tuples(*[st.floats(0.7, 4)] * 3)
shapes = st.tuples(*[st.integers(1, 24)] * 3)


def frame_of(degrees: tuple[float, ...], spacing: tuple[float, ...], shape: tuple[int, ...]) -> tuple[Scan, Volume]:
    affine = nib.affines.from_matvec(rotation((degrees[0], degrees[1], degrees[2])) @ np.diag(spacing), (5, -6, 70))
    scan = read_scan(nib.Nifti1Image(np.full(shape, 40, np.int16), affine), force_geometry=True)
    return scan, prepare_volume(scan, MODEL_MM, HU)


@settings(max_examples=40, deadline=None)
@given(angles, spacings, shapes)
def test_labels_stay_where_they_were(
    degrees: tuple[float, float, float], spacing: tuple[float, float, float], shape: tuple[int, int, int]
) -> None:
    """Model voxels that carry their own number come back at most half a model voxel away in each model axis."""
    scan, volume = frame_of(degrees, spacing, shape)
    count = int(np.prod(volume.voxels.shape))
    restored = restore(np.arange(1, count + 1, dtype=np.uint32).reshape(volume.voxels.shape), volume.frame)
    assert restored.shape == scan.shape
    assert restored.min() > 0
    index = np.stack([*np.meshgrid(*map(np.arange, shape), indexing="ij"), np.ones(shape)]).reshape(4, -1)
    position = (np.linalg.solve(volume.affine, scan.affine) @ index)[:3]
    found = np.stack(np.unravel_index(restored.reshape(-1).astype(np.int64) - 1, volume.voxels.shape))
    bounded = np.clip(position, 0, np.array(volume.voxels.shape)[:, None] - 1)
    assert np.abs(bounded - found).max() <= 0.5 + 2e-4


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_planes_are_those_of_the_whole(data: st.DataObject) -> None:
    """Through flips, permutations, oblique and sheared affines and crops; no voxel differs."""
    shape, spacing = data.draw(shapes), data.draw(spacings)
    axes = data.draw(st.permutations([0, 1, 2]))
    signs = data.draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    turn = rotation(data.draw(st.sampled_from([(0.0, 0.0, 0.0), (12.0, -7.0, 20.0)])))
    shear = np.eye(3) + data.draw(st.sampled_from([0.0, 3e-6, 0.3])) * np.eye(3)[:, [1, 2, 0]]
    affine = nib.affines.from_matvec((turn @ shear @ np.diag(signs))[:, axes] @ np.diag(spacing), (5, -6, 70))
    hu = np.where(np.random.default_rng(0).random(shape) < data.draw(st.sampled_from([1, 0.01])), 40, -1000)
    volume = prepare_volume(read_scan(nib.Nifti1Image(hu.astype(np.int16), affine), force_geometry=True), MODEL_MM, HU)
    labels = np.arange(1, volume.voxels.numel() + 1, dtype=np.uint32).reshape(volume.voxels.shape)
    whole = restore(labels, volume.frame)
    first, end = sorted(data.draw(st.tuples(*[st.integers(0, shape[2])] * 2)))
    part = restore(labels, volume.frame, slice(first, end))
    assert part.dtype == whole.dtype
    np.testing.assert_array_equal(part, whole[:, :, first:end])


@settings(max_examples=20, deadline=None)
@given(angles, spacings)
def test_a_blob_keeps_its_centre(degrees: tuple[float, float, float], spacing: tuple[float, float, float]) -> None:
    scan, volume = frame_of(degrees, spacing, (24, 24, 24))
    middle = (np.array(volume.voxels.shape) - 1) / 2
    where = np.stack(np.meshgrid(*map(np.arange, volume.voxels.shape), indexing="ij"), axis=-1)
    blob = np.linalg.norm((where - middle) * 1.5, axis=-1) < 0.35 * 24 * min(spacing)
    assume(blob.any())
    inside = np.argwhere(restore(blob, volume.frame))
    centre = scan.affine @ [*inside.mean(axis=0), 1]
    expected = volume.affine @ [*np.argwhere(blob).mean(axis=0), 1]
    assert np.linalg.norm((centre - expected)[:3]) <= 0.75 * max(*spacing, 1.5)


def test_memory_is_checked_before_it_is_taken(scan_of: MakeScan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Voxels of 100 mm: a file of a few bytes that covers a body, and more."""
    scan = scan_of(np.full((20, 8, 8), 40, np.int16), np.diag([100.0, 100, 100, 1]))
    for limit in ({"max_ram": 10**9}, {}):
        if not limit:
            monkeypatch.setattr(preparation, "free_bytes", lambda _device: 10**9)
        monkeypatch.setattr(preparation, "resample_linear", lambda *_: pytest.fail("memory was taken"))
        with pytest.raises(DeviceError, match=r"becomes 1268 x 468 x 468 voxels for the network, which need 2\.22 GB"):
            prepare_volume(scan, MODEL_MM, HU, **limit)


def test_padding_counts(scan_of: MakeScan) -> None:
    """A rod of one voxel becomes a column as wide as a window."""
    scan = scan_of(np.full((1, 1, 20), 40, np.int16), np.diag([1.5, 1.5, 100, 1]))
    assert prepare_volume(scan, MODEL_MM, HU, max_ram=60_000_000).voxels.shape == (1, 1, 1268)
    with pytest.raises(DeviceError, match=r"1 x 1 x 1268 voxels"):
        prepare_volume(scan, MODEL_MM, HU, max_ram=40_000_000)

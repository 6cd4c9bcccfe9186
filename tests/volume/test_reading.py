import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from umlite.errors import GeometryError, InputError
from umlite.volume import reading, values, voxels
from umlite.volume.reading import Scan

AFFINE = nib.affines.from_matvec(np.diag([-0.8, -0.8, 2.5]), (100, 90, -700))
HU = np.random.default_rng(0).integers(-1000, 1500, (7, 6, 5)).astype(np.int16)


def read_scan(source: object) -> Scan:
    """As `reading.read_scan`; the scans here are smaller than a body."""
    return reading.read_scan(source, force_geometry=True)  # type: ignore[arg-type]


def header_warnings(scan: Scan) -> list[str]:
    """Without those about size and values."""
    return [sentence for sentence in scan.warnings if sentence not in {f.sentence for f in scan.findings}]


@pytest.fixture(autouse=True, params=["held", "in its file"])
def _memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small scans are held; here they are read plane by plane too, as large ones are."""
    if request.param != "held":
        monkeypatch.setattr(voxels, "HELD_BYTES", 0)
        monkeypatch.setattr(voxels, "_SLAB_BYTES", 1)


@pytest.fixture
def nii(tmp_path: Path) -> Path:
    nib.save(nib.Nifti1Image(HU, AFFINE), tmp_path / "scan.nii")
    return tmp_path / "scan.nii"


@pytest.fixture
def nii_gz(tmp_path: Path) -> Path:
    nib.save(nib.Nifti1Image(HU, AFFINE), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def patched(path: Path, **fields: object) -> Path:
    """`path` with header fields overwritten in place, nothing checked."""
    content = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[348:])
    return path


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_number_type_and_layout(dtype: str, kind: type, order: str, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 120, (4, 3, 2)).astype(dtype)
    if dtype in ("i2", "i4", "i8", "f4", "f8"):
        data -= 100
    image = kind(data, AFFINE, kind.header_class(endianness=order), dtype=data.dtype)
    path = tmp_path / ("scan.img" if "Pair" in kind.__name__ else "scan.nii.gz")
    nib.save(image, path)
    for place in {path, path.with_suffix(".hdr") if path.suffix == ".img" else path}:
        scan = read_scan(place)
        np.testing.assert_array_equal(scan.hu, data.astype(np.float32))
        assert scan.stored_bytes == data.itemsize
        assert scan.hu.dtype == (np.float32 if data.dtype.kind == "f" else np.int16)
        np.testing.assert_array_equal(scan.affine, nib.load(path).affine)
        assert scan.name == "scan"
        assert scan.path == place
        assert isinstance(scan.forms.template, nib.Nifti2Header) == ("2" in kind.__name__)


@pytest.mark.parametrize(("slope", "inter"), [(1, -1024), (2, 0), (0.5, -1000.25), (1 / 3, 7.1)])
@pytest.mark.parametrize("slab", [1, 1 << 22])
def test_scaling_is_nibabels(slope: float, inter: float, slab: int, nii: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "PART_VOXELS", slab)
    patched(nii, scl_slope=slope, scl_inter=inter)
    expected = nib.load(nii).get_fdata().astype(np.float32)
    np.testing.assert_array_equal(read_scan(nii).hu, expected)
    np.testing.assert_array_equal(read_scan(nib.load(nii)).hu, expected)


def test_properties(nii: Path) -> None:
    scan = read_scan(str(nii))
    assert scan.shape == (7, 6, 5)
    assert scan.spacing_mm == pytest.approx((0.8, 0.8, 2.5))
    assert scan.voxel_volume_ml == pytest.approx(0.8 * 0.8 * 2.5 / 1000)
    assert header_warnings(scan) == []


@pytest.mark.parametrize("shape", [(7, 6, 1), (1, 6, 5), (7, 6, 5, 1), (7, 6, 5, 1, 1)])
def test_thin_scans_and_trailing_axes(shape: tuple[int, ...], tmp_path: Path) -> None:
    data = np.arange(np.prod(shape)).reshape(shape).astype(np.int16) - 50
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "a.nii.gz")
    for scan in (read_scan(tmp_path / "a.nii.gz"), read_scan(nib.Nifti1Image(data, AFFINE))):
        np.testing.assert_array_equal(scan.hu, data.reshape(shape[:3]))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_image_in_memory(dtype: type) -> None:
    data = HU.astype(dtype)
    scan = read_scan(nib.Nifti1Image(data, AFFINE))
    assert scan.name == "image"
    assert scan.path is None
    assert np.shares_memory(scan.hu, data)
    np.testing.assert_array_equal(scan.affine, AFFINE)
    np.testing.assert_allclose(scan.forms.template.get_sform(), AFFINE, rtol=1e-6)
    other = read_scan(nib.MGHImage(data, AFFINE.astype(np.float32)))
    np.testing.assert_allclose(other.affine, AFFINE, rtol=1e-6)
    np.testing.assert_allclose(other.forms.template.get_sform(), AFFINE, rtol=1e-6)
    assert header_warnings(other) == []


def test_image_that_was_loaded_and_moved(nii_gz: Path) -> None:
    image = nib.load(nii_gz)
    image.affine[0, 3] += 5
    scan = read_scan(image)
    np.testing.assert_array_equal(scan.hu, HU)
    assert scan.name == "scan"
    assert scan.affine[0, 3] == 105
    assert scan.forms.template.get_sform()[0, 3] == 105


def test_content_decides_not_the_name(nii: Path, nii_gz: Path, tmp_path: Path) -> None:
    for source, name in [(nii_gz, "packed.nii"), (nii, "plain.nii.gz"), (nii, "no suffix")]:
        shutil.copy(source, tmp_path / name)
        np.testing.assert_array_equal(read_scan(tmp_path / name).hu, HU)


def test_only_one_form(nii: Path) -> None:
    image = nib.load(nii)
    for keep, drop in [("set_sform", "set_qform"), ("set_qform", "set_sform")]:
        header = image.header.copy()
        getattr(header, keep)(AFFINE, code=1)
        getattr(header, drop)(np.eye(4), code=0)
        header["pixdim"][1:4] = 0.8, 0.8, 2.5
        nii.write_bytes(header.binaryblock + nii.read_bytes()[348:])
        scan = read_scan(nii)
        np.testing.assert_allclose(scan.affine, AFFINE, rtol=1e-6)
        assert header_warnings(scan) == []


def warnings_of(path: Path) -> str:
    return " ".join(read_scan(path).warnings)


def test_warnings_about_the_header(nii: Path) -> None:
    header = nib.load(nii).header.copy()
    assert "no sform, no qform" in warnings_of(patched(nii, sform_code=0, qform_code=0))
    assert "run to the left, anterior and superior" in warnings_of(nii)
    header.set_sform(AFFINE, code=1)
    header.set_qform(AFFINE + np.eye(4)[:, [3, 0, 1, 2]] * 0, code=1)
    header["qoffset_x"] += 3
    nii.write_bytes(header.binaryblock + nii.read_bytes()[348:])
    assert "3 mm apart; the sform is used" in warnings_of(nii)
    patched(nii, qform_code=0, srow_x=[-12, 0, 0, 100], pixdim=[1, 12, 0.8, 2.5, 0, 0, 0, 0])
    assert "over 10 mm apart" in warnings_of(nii)
    patched(nii, srow_x=[-0.8, 0, 0.5, 100], pixdim=[1, 0.8, 0.8, 2.55, 0, 0, 0, 0])
    assert "sheared" in warnings_of(nii)
    patched(nii, srow_x=[-0.8, 0, 0, 100], pixdim=[1, 0.8, 0.8, 5, 0, 0, 0, 0])
    assert "is not its affine's" in warnings_of(nii)


def test_findings_are_warnings_too(nii: Path) -> None:
    scan = read_scan(patched(nii, scl_slope=1, scl_inter=40000))
    assert {"too-small", "dense"} <= {finding.code for finding in scan.findings}
    assert [finding.sentence for finding in scan.findings] == list(scan.warnings)
    with pytest.raises(GeometryError, match="too little for a body"):
        reading.read_scan(nii)


def refused(path: object) -> str:
    with pytest.raises(InputError) as caught:
        read_scan(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "expected" in message.lower()
    return message


def test_missing_folder_and_wrong_type(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.nii.gz")
    assert "is a folder" in refused(tmp_path)
    assert "found int" in refused(3)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refused(tmp_path / "pipe")


def test_dicom(tmp_path: Path) -> None:
    (tmp_path / "slice").write_bytes(bytes(128) + b"DICM" + bytes(900))
    assert "dcm2niix" in refused(tmp_path / "slice")
    assert "dcm2niix" in refused(tmp_path)


def test_real_dicom(shared: Path) -> None:
    folder = shared / "data" / "example_ct_dicom"
    assert "dcm2niix" in refused(folder)
    assert "DICOM" in refused(min(folder.iterdir()))


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "scan.hdr", "scan.img"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"patient,age\n1,2\n" * 60, "text file"),
        (b"short", "text file"),
        (b"NRRD0004\n" * 90, "NRRD"),
        (b"\x89PNG" + bytes(900), "PNG"),
        (os.urandom(2000).replace(b"\x1f\x8b", b"xx"), "not a NIfTI file"),
        (b"\x5c\x01\0\0" + bytes(100), "cut short"),
        (b"\x5c\x01\0\0" + bytes(900), "ANALYZE"),
        (b"\x1f\x8b" + bytes(range(1, 250)), "damaged gzip"),
        (gzip.compress(b"", mtime=0), "empty"),
    ],
)
def test_no_nifti(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    for each in {name, name.replace("img", "hdr")}:
        (tmp_path / each).write_bytes(content)
    assert words in refused(tmp_path / name)


@pytest.mark.parametrize("offset", [np.nan, np.inf, -np.inf, -1, 0.5])
def test_offset_of_a_pair(offset: float, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(HU, AFFINE), tmp_path / "scan.img")
    patched(tmp_path / "scan.hdr", vox_offset=offset)
    for name in ("scan.hdr", "scan.img"):
        assert "start at byte" in refused(tmp_path / name)


def test_half_a_pair(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(HU, AFFINE), tmp_path / "scan.img")
    shutil.copy(tmp_path / "scan.img", tmp_path / "alone.img")
    assert "has no header" in refused(tmp_path / "alone.img")
    (tmp_path / "scan.img").unlink()
    assert "has no voxels" in refused(tmp_path / "scan.hdr")


@pytest.mark.parametrize("keep", [348, 352, 400, -1])
def test_truncated(keep: int, nii: Path) -> None:
    nii.write_bytes(nii.read_bytes()[:keep])
    assert "cut short" in refused(nii)
    nii.write_bytes(gzip.compress(nii.read_bytes()))
    assert "cut short" in refused(nii)


@pytest.mark.parametrize("keep", [5, 15, 100, -9, -1])
def test_truncated_gzip(keep: int, nii_gz: Path) -> None:
    nii_gz.write_bytes(nii_gz.read_bytes()[:keep])
    assert "damaged gzip" in refused(nii_gz)


def test_corrupt_checksum(nii_gz: Path) -> None:
    image = nib.load(nii_gz)
    content = bytearray(nii_gz.read_bytes())
    content[-6] ^= 1
    nii_gz.write_bytes(content)
    assert "CRC" in refused(nii_gz)
    assert "CRC" in refused(image)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_absurd_size_is_not_allocated(pack: Callable[[bytes], bytes], nii: Path) -> None:
    nii.write_bytes(pack(patched(nii, dim=[3, 2000, 2000, 2000, 1, 1, 1, 1]).read_bytes()))
    assert "far too small" in refused(nii)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dim": [2, 7, 6, 1, 1, 1, 1, 1]}, "2-D"),
        ({"dim": [4, 7, 6, 1, 5, 1, 1, 1]}, "5 volumes"),
        ({"dim": [5, 7, 2, 1, 5, 3, 1, 1]}, "15 volumes"),
        ({"dim": [3, 7, 0, 5, 1, 1, 1, 1]}, "at least one voxel"),
        ({"dim": [3, 7, -6, 5, 1, 1, 1, 1]}, "at least one voxel"),
        ({"dim": [9, 7, 6, 5, 1, 1, 1, 1]}, "9 axes"),
        ({"datatype": 128}, "colours"),
        ({"datatype": 2304}, "colours"),
        ({"datatype": 32}, "complex"),
        ({"datatype": 7777}, "unknown data type 7777"),
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "no more than a CT has"),
        ({"dim": [3, 30000, 30000, 1, 1, 1, 1, 1]}, "no more than a CT has"),
        ({"srow_y": [0, 0, 0, 0]}, "singular"),
        ({"srow_y": [-0.8, 0, 0, 0]}, "singular"),
        ({"srow_y": [0, np.nan, 0, 0]}, "NaN"),
        ({"srow_y": [0, 1, 0, np.inf]}, "infinite"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 3}, "no rotation"),
        ({"vox_offset": 100}, "start at byte 100"),
        ({"vox_offset": np.nan}, "start at byte nan"),
        ({"vox_offset": np.inf}, "start at byte inf"),
        ({"vox_offset": -16}, "start at byte -16"),
        ({"vox_offset": 1e12}, "start at byte 1e+12"),
        ({"scl_slope": 1, "scl_inter": np.inf}, "invalid intercept"),
    ],
)
def test_bad_headers(fields: dict[str, object], words: str, nii: Path) -> None:
    assert words in refused(patched(nii, **fields))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers(value: float, dtype: type, tmp_path: Path) -> None:
    data = HU.astype(dtype)
    data[3, 2, 1] = data[4, 0, 0] = value
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "a.nii")
    for source in (tmp_path / "a.nii", nib.Nifti1Image(data, AFFINE)):
        assert "2 voxels" in refused(source)
        assert "(3, 2, 1)" in refused(source)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((3, 3), np.int16), "2-D"),
        (np.zeros((3, 3, 3, 4), np.int16), "4 volumes"),
        (np.zeros((3, 0, 3), np.int16), "at least one voxel"),
        (np.zeros((3, 3, 3), np.complex64), "complex"),
        (np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "colours"),
    ],
)
def test_bad_images(data: np.ndarray, words: str) -> None:
    assert words in refused(nib.Nifti1Image(data, np.eye(4)))


@pytest.mark.parametrize("affine", [np.diag([1, 0, 1, 1.0]), np.diag([1, np.nan, 1, 1])])
def test_bad_affine_of_an_image(affine: np.ndarray) -> None:
    image = nib.Nifti1Image(HU, np.eye(4))
    image.affine[:] = affine
    assert "affine" in refused(image)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_permission_denied(nii: Path) -> None:
    nii.chmod(0)
    assert "permission denied" in refused(nii)


def test_permission_error_is_told(nii: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(InputError, match="permission denied"):
        read_scan(nii)

"""NRRD scans: read like SimpleITK reads them; what is odd or hostile gets a sentence."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK
from typer.testing import CliRunner

import umlite.volume.voxels as voxels
from support.samples import make_scan
from support.segmentations import oblique_affine
from umlite.cli import app
from umlite.errors import InputError
from umlite.products.content import content_of
from umlite.volume.reading import Scan, read_scan

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (31, 27, 22)
FIELDS = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "4 3 2",
    "space directions": "(40,0,0) (0,40,0) (0,0,40)",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(0,0,0)",
}
DATA = np.arange(24, dtype="<i2").tobytes()


def hu(dtype: str = "i2", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 100, SHAPE).astype(dtype)


def by_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels [X, Y, Z] and affine to RAS."""
    image = SimpleITK.ReadImage(str(path))
    axes = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    return SimpleITK.GetArrayFromImage(image).T, LPS @ nib.affines.from_matvec(axes, image.GetOrigin())


def check(path: Path) -> Scan:
    """Read a file, and compare it with SimpleITK's reading."""
    scan = read_scan(path, force_geometry=True)
    expected, affine = by_itk(path)
    assert np.array_equal(scan.hu, expected)
    assert np.allclose(scan.affine, affine, atol=1e-3)
    return scan


def text(changes: dict[str, str | None], after: str = "") -> bytes:
    fields = {key: value for key, value in (FIELDS | changes).items() if value is not None}
    return ("NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in fields.items()) + after + "\n").encode()


def read(folder: Path, changes: dict[str, str | None], data: bytes = DATA, after: str = "") -> Scan:
    (folder / "x.nrrd").write_bytes(text(changes, after) + data)
    return read_scan(folder / "x.nrrd", force_geometry=True)


@pytest.mark.parametrize("dtype", ["<i1", "<u1", "<i2", ">i2", "<u2", ">i4", "<u4", "<i8", ">u8", "<f4", ">f8"])
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_every_type_order_and_encoding(dtype: str, encoding: str, tmp_path: Path) -> None:
    data = hu().astype(dtype)
    affine = LPS @ oblique_affine(np.random.default_rng(1))
    header = {"space": "left-posterior-superior", "space directions": affine[:3, :3].T, "encoding": encoding}
    nrrd.write(str(tmp_path / "x.nrrd"), data, header | {"space origin": affine[:3, 3]})
    scan = read_scan(tmp_path / "x.nrrd", force_geometry=True)
    assert np.array_equal(scan.hu, data)
    assert scan.stored_bytes == data.itemsize
    assert np.allclose(scan.affine, LPS @ affine, atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_written_by_itk(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    image = SimpleITK.GetImageFromArray(hu(seed=seed).T)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    image.SetDirection(rotation.ravel())
    image.SetSpacing(rng.uniform(0.5, 3, 3).tolist())
    image.SetOrigin(rng.uniform(-100, 100, 3).tolist())
    SimpleITK.WriteImage(image, str(tmp_path / "x.nrrd"), useCompression=bool(seed % 2))
    assert check(tmp_path / "x.nrrd").name == "x"
    SimpleITK.WriteImage(image, str(tmp_path / "y.nhdr"), useCompression=bool(seed % 2))
    assert np.array_equal(check(tmp_path / "y.nhdr").hu, hu(seed=seed))


@pytest.mark.parametrize(
    ("space", "signs"),
    [("RAS", (1, 1, 1)), ("left-anterior-superior", (-1, 1, 1)), ("Left-Posterior-Superior", (-1, -1, 1))],
)
def test_spaces(space: str, signs: tuple[int, ...], tmp_path: Path) -> None:
    scan = read(tmp_path, {"space": space, "space origin": "(1, 2,3)"})
    assert np.array_equal(scan.affine[:3], np.c_[40 * np.diag(signs), np.multiply(signs, (1, 2, 3))])
    assert scan.hu[1, 0, 0] == 1
    assert scan.hu[0, 1, 0] == 4
    assert not any("axes run" in warning for warning in scan.warnings)


def test_sheared_voxels_and_other_units(tmp_path: Path) -> None:
    scan = read(tmp_path, {"space directions": "(4,0,0) (0,4,0) (0,1,4)", "space units": '"cm" "cm" "cm"'})
    assert np.array_equal(scan.affine[:3, :3], [[-40, 0, 0], [0, -40, -10], [0, 0, 40]])
    assert any("sheared" in warning for warning in scan.warnings)


def test_a_single_number_beside_space_is_no_matter(tmp_path: Path) -> None:
    changes = {"dimension": "4", "sizes": "1 4 3 2", "space directions": "none (40,0,0) (0,40,0) (0,0,40)"}
    assert read(tmp_path, changes).shape == (4, 3, 2)


def test_no_orientation_is_told(tmp_path: Path) -> None:
    scan = read(tmp_path, {"space": None, "space directions": None, "space origin": None, "spacings": "40 40 40"})
    assert np.array_equal(scan.affine, np.diag([-40, -40, 40, 1]))
    assert any("may be swapped" in warning for warning in scan.warnings)


def test_skips(tmp_path: Path) -> None:
    assert read(tmp_path, {"line skip": "2"}, b"one\ntwo\n" + DATA).hu[3, 0, 0] == 3
    assert read(tmp_path, {"byte skip": "5"}, b"12345" + DATA).hu[3, 0, 0] == 3
    assert read(tmp_path, {"byteskip": "-1"}, b"anything" + DATA).hu[3, 0, 0] == 3
    packed = gzip.compress(b"12345" + DATA)
    assert read(tmp_path, {"encoding": "gz", "byte skip": "5"}, packed).hu[3, 0, 0] == 3
    assert read(tmp_path, {}, b"\x1f\x8b" + DATA[2:]).hu[0, 0, 0] == int.from_bytes(b"\x1f\x8b", "little", signed=True)


def test_voxels_beside_the_header(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "x.raw").write_bytes(DATA)
    (tmp_path / "x.nhdr").write_bytes(text({"data file": "inner/x.raw"}).rstrip(b"\n"))
    scan = read_scan(tmp_path / "x.nhdr", force_geometry=True)
    assert scan.hu[3, 2, 1] == 23
    before = content_of(tmp_path / "x.nhdr")
    (tmp_path / "inner" / "x.raw").write_bytes(DATA[::-1])
    assert content_of(tmp_path / "x.nhdr") != before


@pytest.mark.parametrize(
    "name", ["../secret.raw", "/etc/passwd", "a/../../x", "~/x", "..\\x", "C:/x", "LIST", "x%03d.raw 1 9 1", "", "."]
)
def test_no_file_elsewhere_is_read(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(DATA)
    (folder / "x.nhdr").write_bytes(text({"data file": name}))
    with pytest.raises(InputError):
        read_scan(folder / "x.nhdr", force_geometry=True)


def test_a_pipe_is_no_file_of_voxels(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.raw")
    (tmp_path / "x.nhdr").write_bytes(text({"data file": "x.raw"}))
    with pytest.raises(InputError, match="no voxels"):
        read_scan(tmp_path / "x.nhdr", force_geometry=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sizes": "4 3"}, "for dimension"),
        ({"sizes": "4 3 nan"}, "for dimension"),
        ({"sizes": "4 3 x", "dimension": None}, "expected numbers"),
        ({"sizes": "4 3 nan", "dimension": None}, "no dimension"),
        ({"sizes": "4 3 0"}, "at least one voxel"),
        ({"sizes": "40000 30000 20000"}, "no more than a CT has"),
        ({"sizes": "4 3 2000"}, "is cut short"),
        ({"type": "block"}, "one real number a voxel"),
        ({"endian": None}, "byte order"),
        ({"encoding": "bzip2"}, "expected raw or gzip"),
        ({"encoding": "gzip"}, "damaged gzip"),
        ({"encoding": None}, "no encoding"),
        ({"space directions": None}, "how far apart"),
        ({"space directions": "(40,0,0) (0,40,0) (0,40,0)"}, "singular"),
        ({"space directions": "(nan,0,0) (0,40,0) (0,0,40)"}, "NaN"),
        ({"space directions": "(40,0,0) (0,40,0) none"}, "2 axes in space"),
        ({"space directions": "(40,0) (0,40) (0,0)"}, "expected three numbers"),
        ({"space directions": "(40,0,0) (0,40,0) (0,0,40"}, "a vector for each axis"),
        ({"space units": '"mm" "m" "mm"'}, "expected mm"),
        ({"line skip": "-5"}, "skips -5 lines"),
        ({"dimension": "4", "sizes": "3 4 1 2", "space directions": "none (40,0,0) (0,40,0) (0,0,40)",
          "kinds": "RGB-color domain domain domain"}, "RGB-color"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(changes: dict[str, str | None], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read(tmp_path, changes)


def test_headers_that_are_none(tmp_path: Path) -> None:
    twice = text({})[:60] + b"\ntype: int\n"
    for start in (b"NRRD0004\nno field\n\n", b"NRRD0004\n" + b"#\n" * (1 << 20), b"NRRD0004", twice):
        (tmp_path / "x.nrrd").write_bytes(start)
        with pytest.raises(InputError):
            read_scan(tmp_path / "x.nrrd")
    with pytest.raises(InputError, match="is a segmentation"):
        read(tmp_path, {}, after="Segment0_ID:=liver\n")


def test_a_large_file_is_read_in_slabs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nrrd.write(str(tmp_path / "x.nrrd"), hu(), {"space": "RAS", "space directions": np.diag([4.0, 4, 4])})
    expected = read_scan(tmp_path / "x.nrrd").hu
    monkeypatch.setattr(voxels, "HELD_BYTES", 0)
    scan = read_scan(tmp_path / "x.nrrd")
    assert not scan.is_held
    assert np.array_equal(np.concatenate(list(scan.slabs(5)), axis=2), expected)


def test_segment_gives_what_it_gives_for_nifti(tmp_path: Path, small_weights: Path) -> None:
    image = make_scan()
    nib.save(image, tmp_path / "a.nii.gz")
    directions = (np.diag([-1.0, -1, 1]) @ image.affine[:3, :3]).T
    header = {"space": "LPS", "space directions": directions, "space origin": (LPS @ image.affine)[:3, 3]}
    nrrd.write(str(tmp_path / "a.nrrd"), np.asarray(image.dataobj), header)
    for name in ("a.nii.gz", "a.nrrd"):
        arguments = ["segment", str(tmp_path / name), "-o", str(tmp_path / f"{name}.out"), "-c", "liver,spleen"]
        fast = ["--overlap", "0", "--device", "cpu", "--weights", str(small_weights)]
        result = CliRunner().invoke(app, arguments + fast)
        assert result.exit_code == 0, result.output
    for mask in ("liver", "spleen"):
        one, other = (nib.load(tmp_path / f"{name}.out" / f"{mask}.nii.gz") for name in ("a.nii.gz", "a.nrrd"))
        assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
        assert np.array_equal(one.affine, other.affine)


@pytest.mark.parametrize("name", ["slicerio_ctchest/CTChest4", "pyradiomics_lung/lung1_image"])
def test_real_scans(name: str, shared: Path) -> None:
    path = shared / "data" / "series" / f"{name}.nrrd"
    if not path.exists():
        pytest.skip("needs real scans")
    scan = check(path)
    assert scan.findings == ()

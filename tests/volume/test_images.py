"""A file gives the same scan through its path and through nibabel, whatever its header says."""

from __future__ import annotations

import gzip
import logging
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umlite.errors import InputError
from umlite.volume.images import unchanged_file
from umlite.volume.reading import Scan, read_scan

AFFINE = nib.affines.from_matvec(np.diag([-40.0, -40.0, 30.0]), (100, 90, -700))
HU = np.random.default_rng(0).integers(-1000, 1500, (7, 6, 5)).astype(np.int16)

NUMBERS = st.floats(width=32) | st.sampled_from([0.0, 1.0, -1.0, 40.0, -40.0, np.nan, np.inf])
CODES = st.integers(-2, 7) | st.sampled_from([0, 1, 2])
FIELDS: dict[str, st.SearchStrategy[object]] = {
    **dict.fromkeys(["sform_code", "qform_code"], CODES),
    **dict.fromkeys(["quatern_b", "quatern_c", "quatern_d"], NUMBERS | st.floats(-1, 1, width=32)),
    **dict.fromkeys(["qoffset_x", "qoffset_z", "scl_slope", "scl_inter"], NUMBERS),
    **dict.fromkeys(["srow_x", "srow_y", "srow_z"], st.lists(NUMBERS, min_size=4, max_size=4)),
    "xyzt_units": st.integers(0, 255),
    "pixdim": st.lists(NUMBERS, min_size=8, max_size=8),
    "dim": st.lists(st.integers(-1, 8), min_size=8, max_size=8)
    | st.sampled_from([[3, 7, 6, 5], [4, 1, 7, 6, 5], [4, 7, 6, 5, 0], [5, 7, 6, 5, 1, 1]]).map(
        lambda d: (d + [1] * 8)[:8]
    ),
    "datatype": st.sampled_from([2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 2304, 0, 1, 7]),
    "vox_offset": NUMBERS | st.sampled_from([0.0, 352.0, 368.0]),
    "intent_code": st.sampled_from([0, 1002, 1007, 2003]),
}


def written(folder: Path, name: str, mutation: dict[str, object], order: str) -> Path:
    kind = nib.Nifti1Pair if name.endswith("hdr") else nib.Nifti1Image
    image = kind(HU, AFFINE, kind.header_class(endianness=order))
    image.set_qform(AFFINE, code=1)
    path = folder / name
    nib.save(image, folder / "scan.nii" if name == "scan.nii.gz" else path)
    plain = folder / "scan.nii" if name == "scan.nii.gz" else path
    content = plain.read_bytes()
    header = kind.header_class(content[:348], endianness=order, check=False)
    for field, value in mutation.items():
        header[field] = value
    plain.write_bytes(header.binaryblock + content[348:] + bytes(4096 * (plain == path)))
    if plain != path:
        path.write_bytes(gzip.compress(plain.read_bytes(), 1))
    return path


def answer(source: object) -> Scan | str:
    try:
        return read_scan(source)  # type: ignore[arg-type]
    except InputError as error:
        return str(error).split(":", 1)[-1].replace(".img", ".hdr")


@given(
    st.sampled_from(["scan.nii", "scan.nii.gz", "scan.hdr"]),
    st.sampled_from("<>"),
    st.fixed_dictionaries({}, optional=FIELDS),
)
@settings(max_examples=400, deadline=None)
def test_path_and_image_are_one(name: str, order: str, mutation: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        path = written(Path(folder), name, mutation, order)
        by_path = answer(path)
        logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
        try:
            image = nib.load(path)
        except Exception:  # where nibabel gives no image there is nothing to compare
            return
        by_image = answer(image)
        if isinstance(by_path, str) or isinstance(by_image, str):
            assert by_path == by_image
            return
        assert by_path.shape == by_image.shape
        assert by_path.warnings == by_image.warnings
        assert by_path.forms.template.binaryblock == by_image.forms.template.binaryblock
        np.testing.assert_array_equal(by_path.affine, by_image.affine)
        np.testing.assert_array_equal(by_path.hu, by_image.hu)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path, "scan.nii", {"pixdim": [0, 40, 40, 30, 0, 0, 0, 0]}, "<")


def test_what_nibabel_repaired_is_told_all_the_same(path: Path) -> None:
    assert "qfac (pixdim[0]) is 0" in " ".join(read_scan(nib.load(path)).warnings)


def test_a_changed_image_is_no_longer_its_file(path: Path) -> None:
    assert unchanged_file(nib.load(path)) == path
    moved, renamed, cast = nib.load(path), nib.load(path), nib.load(path)
    moved.affine[0, 3] += 1
    renamed.header["xyzt_units"] = 1
    for image in (moved, renamed, nib.Nifti1Image(cast.get_fdata(), cast.affine, cast.header)):
        assert unchanged_file(image) is None
    np.testing.assert_array_equal(read_scan(moved).affine[:, 3], read_scan(path).affine[:, 3] + [1, 0, 0, 0])


def test_a_file_that_is_gone(path: Path) -> None:
    image = nib.load(path)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        read_scan(image)


def test_analyze_is_refused_by_path_and_by_image(tmp_path: Path) -> None:
    nib.save(nib.AnalyzeImage(HU, AFFINE), tmp_path / "scan.img")
    for source in (tmp_path / "scan.img", nib.load(tmp_path / "scan.img")):
        with pytest.raises(InputError, match=r"ANALYZE 7\.5"):
            read_scan(source)


def test_images_whose_voxels_have_no_type_of_their_own() -> None:
    """As MINC's, whose scaling is of each slice."""

    class Voxels:
        shape, ndim, is_proxy = HU.shape, 3, True

        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return HU.astype(np.float64)

    scan = read_scan(nib.spatialimages.SpatialImage(Voxels(), AFFINE))
    np.testing.assert_array_equal(scan.hu, HU)
    np.testing.assert_array_equal(scan.affine, AFFINE)


def test_an_image_from_a_stream(path: Path) -> None:
    image = nib.Nifti1Image.from_bytes(path.read_bytes())
    np.testing.assert_array_equal(read_scan(image).hu, HU)
    np.testing.assert_allclose(read_scan(image).affine, AFFINE)

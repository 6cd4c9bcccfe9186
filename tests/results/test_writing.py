import gzip
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from support.full_disk import full_disk, needs_full_disk
from umlite.errors import OutputError
from umlite.masks.bitmask import BitMask
from umlite.outputs.file_set import together
from umlite.results import writing
from umlite.results.label_table import read_label_names
from umlite.volume.reading import Scan, read_scan

AFFINE = nib.affines.from_matvec(np.diag([-0.8, -0.8, 2.5]), (100.123, 90, -700))
SHAPE = (7, 6, 5)
MASK = np.random.default_rng(0).integers(0, 2, SHAPE).astype(bool)
NAMES = {1: ("spleen", (1, 2, 3)), 6: ("liver", (4, 5, 6))}


def masks_of(
    *masks: np.ndarray, names: Sequence[str] = ("liver", "spleen", "none"), slab: int = 2
) -> Iterator[BitMask]:
    """Slabs of so many planes with a class for each mask."""
    bits = BitMask.from_masks(dict(zip(names, masks, strict=False)))
    return (bits.part(np.s_[:, :, first : first + slab]) for first in range(0, SHAPE[2], slab))


def write_masks(folder: Path, names: list[str] | dict[str, str], slabs: Iterable[BitMask], scan: Scan) -> list[Path]:
    """A set of masks alone."""
    with together(folder) as files:
        return writing.write_masks(
            files, folder, {n: n for n in names} if isinstance(names, list) else names, slabs, scan
        )


def write_label_map(path: Path, labels: np.ndarray, names: dict[int, tuple], scan: Scan) -> Path:
    """A set of one label map."""
    with together(path.parent) as files:
        return writing.write_label_map(files, path, labels, names, scan)


def make_scan(folder: Path, kind: type = nib.Nifti1Image) -> Scan:
    header = kind.header_class()
    header["descrip"], header["aux_file"], header["intent_name"] = b"John Doe 1970", b"doe.txt", b"doe"
    header["scl_slope"], header["cal_max"] = 2, 7
    header.extensions.append(nib.nifti1.Nifti1Extension(6, b"PatientName: John Doe"))
    image = kind(np.full(SHAPE, -50, np.int16), AFFINE, header)
    image.set_sform(AFFINE, code=1)
    image.set_qform(AFFINE + np.diag([1e-4, 0, 0, 0]), code=3)
    nib.save(image, folder / "scan.nii.gz")
    return read_scan(folder / "scan.nii.gz", force_geometry=True)


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    (tmp_path / "in").mkdir()
    return make_scan(tmp_path / "in")


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(("slab", "planes"), [(1, 1), (1, 3), (84, 5), (1 << 22, 2)])
def test_masks_lie_on_the_scan(
    kind: type, slab: int, planes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_BLOCK_VOXELS", slab)
    scan = make_scan(tmp_path, kind)
    folder = tmp_path / "new" / "deep"
    masks = masks_of(MASK, np.roll(MASK, 1), MASK & False, slab=planes)
    paths = write_masks(folder, ["liver", "spleen", "none"], masks, scan)
    assert paths == [folder / "liver.nii.gz", folder / "spleen.nii.gz", folder / "none.nii.gz"]
    assert sorted(folder.iterdir()) == sorted(paths)
    source = nib.load(tmp_path / "scan.nii.gz")
    for path, expected in zip(paths, (MASK, np.roll(MASK, 1), MASK & False), strict=True):
        image = nib.load(path)
        assert type(image) is kind
        assert image.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), expected)
        np.testing.assert_array_equal(image.affine, source.affine)
        for field in ("srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y"):
            np.testing.assert_array_equal(image.header[field], source.header[field])
        for field in ("qoffset_z", "sform_code", "qform_code"):
            np.testing.assert_array_equal(image.header[field], source.header[field])
        np.testing.assert_array_equal(image.header["pixdim"][:4], source.header["pixdim"][:4])
        assert image.header.get_xyzt_units()[0] == "mm"
        assert image.header.get_slope_inter() in [(1, 0), (None, None)]


@pytest.mark.parametrize("name", ["map.nii", "map.nii.gz"])
def test_nothing_of_the_patient_is_copied(name: str, scan: Scan, tmp_path: Path) -> None:
    path = write_label_map(tmp_path / name, MASK.astype(np.uint8), NAMES, scan)
    header = nib.load(path).header
    assert header["descrip"].item() == b"umlite"
    content = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    for text in (b"Doe", b"doe", b"scan"):
        assert text not in content


def test_pairs_and_other_images(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(np.full(SHAPE, -50, np.int16), AFFINE), tmp_path / "scan.img")
    images = [tmp_path / "scan.hdr", nib.MGHImage(np.full(SHAPE, -50, np.int16), AFFINE)]
    big_endian = nib.Nifti1Image(np.full(SHAPE, -50, np.int16), AFFINE, nib.Nifti1Header(endianness=">"))
    for number, source in enumerate([*images, big_endian]):
        [path] = write_masks(tmp_path / str(number), ["liver"], masks_of(MASK), read_scan(source, force_geometry=True))
        image = nib.load(path)
        assert type(image) is nib.Nifti1Image
        np.testing.assert_allclose(image.affine, AFFINE, rtol=1e-6)
        np.testing.assert_allclose(image.header.get_zooms(), (0.8, 0.8, 2.5), rtol=1e-6)


def test_no_form_stays_no_form(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.full(SHAPE, -50, np.int16), AFFINE)
    for form in (image.set_sform, image.set_qform):
        form(AFFINE, code=0)
    nib.save(image, tmp_path / "scan.nii")
    scan = read_scan(tmp_path / "scan.nii", force_geometry=True)
    [path] = write_masks(tmp_path, ["liver"], masks_of(MASK), scan)
    assert nib.load(path).header["sform_code"] == nib.load(path).header["qform_code"] == 0


@pytest.mark.parametrize(("highest", "dtype"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16)])
@pytest.mark.parametrize("name", ["map.nii", "map.nii.gz", "MAP.NII.GZ"])
def test_label_map(highest: int, dtype: type, name: str, scan: Scan, tmp_path: Path) -> None:
    labels = np.where(MASK, 6, 0)
    path = write_label_map(tmp_path / "out" / name, labels, {**NAMES, highest: ("top", (0, 0, 0))}, scan)
    if path.suffix.islower():
        image = nib.load(path)
        assert image.get_data_dtype() == dtype
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), labels)
        assert len(image.header.extensions) == 1
    np.testing.assert_array_equal(read_scan(path, force_geometry=True).hu, labels)
    assert read_label_names(path) == {1: "spleen", 6: "liver", highest: "top"}
    labels[0, 0, 0] = highest
    write_label_map(path, labels, NAMES, scan)
    np.testing.assert_array_equal(read_scan(path, force_geometry=True).hu, labels)


def test_same_bytes_every_time(scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [first] = write_masks(tmp_path / "a", ["liver"], masks_of(MASK), scan)
    monkeypatch.setattr("time.time", lambda: 4e9)
    second, _ = write_masks(
        tmp_path / "b", ["spleen", "liver"], masks_of(np.roll(MASK, 1), MASK, names=("liver", "spleen")), scan
    )
    assert first.read_bytes() == second.read_bytes()


def stopping(error: BaseException) -> Iterator[BitMask]:
    slabs = masks_of(MASK, MASK)
    yield next(slabs)
    yield next(slabs)
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("x"), OSError(28, "No space left on device")])
def test_interruption_leaves_nothing(error: BaseException, scan: Scan, tmp_path: Path) -> None:
    old = tmp_path / "old"
    [kept] = write_masks(old, ["liver"], masks_of(~MASK), scan)
    before = kept.read_bytes()
    for folder in (tmp_path / "new" / "deep", old):
        with pytest.raises((type(error), OutputError)):
            write_masks(folder, ["liver", "spleen"], stopping(error), scan)
    assert not (tmp_path / "new").exists()
    assert list(old.iterdir()) == [kept]
    assert kept.read_bytes() == before


@needs_full_disk
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_full_disk(suffix: str, scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_disk(monkeypatch, lambda path: path.name.startswith("spleen"))
    out = tmp_path / "out"
    with pytest.raises(OutputError, match="disk is full"):
        write_label_map(out / f"spleen{suffix}", MASK.astype(np.uint8), NAMES, scan)
    for names in (["liver", "spleen"], ["spleen", "liver"]):
        with pytest.raises(OutputError, match=r"spleen.nii.gz: the disk is full"):
            write_masks(out, names, masks_of(MASK, MASK), scan)
    assert not out.exists()


def test_a_failed_rename_takes_the_others_back(scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def refuse_liver(source: Path, target: Path) -> None:
        if target.name.startswith("liver"):
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_liver)
    with pytest.raises(OutputError, match="permission denied"):
        write_masks(tmp_path / "new", ["liver", "spleen"], masks_of(MASK, MASK), scan)
    assert not (tmp_path / "new").exists()


def test_one_slab_at_a_time(scan: Scan, tmp_path: Path) -> None:
    def slabs() -> Iterator[BitMask]:
        for slab in masks_of(MASK, MASK):
            (hidden,) = (tmp_path / "out").iterdir()
            assert hidden.name.startswith(".umlite-")
            yield slab

    assert len(write_masks(tmp_path / "out", ["liver", "spleen"], slabs(), scan)) == 2


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".", "a\0b", "/etc/a", "liver"])
def test_bad_mask_names(name: str, scan: Scan, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_masks(tmp_path / "new", {"liver": "liver", "spleen": name}, masks_of(MASK, MASK), scan)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("mask", [MASK[1:], MASK[:, :-1], MASK[..., 1:], np.concatenate([MASK, MASK], 2)])
def test_masks_of_another_shape(mask: np.ndarray, scan: Scan, tmp_path: Path) -> None:
    bits = BitMask.from_masks({"a": mask})
    slabs = [bits.part(np.s_[:, :, z : z + 1]) for z in range(mask.shape[2])]
    with pytest.raises(OutputError, match="expected integers of the scan's shape"):
        write_masks(tmp_path / "new", ["a"], slabs, scan)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("mask", [MASK[1:], MASK.astype(np.float32), MASK[None]])
def test_bad_label_arrays(mask: np.ndarray, scan: Scan, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="expected integers of the scan's shape"):
        write_label_map(tmp_path / "new" / "a.nii", mask, NAMES, scan)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["a.nrrd", "a", "a.nii.bz2", "a.hdr"])
def test_bad_label_map_names(name: str, scan: Scan, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.nii or \.nii\.gz"):
        write_label_map(tmp_path / name, MASK.astype(np.uint8), NAMES, scan)


@pytest.mark.parametrize("value", [-1, 65536])
def test_bad_labels(value: int, scan: Scan, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"0\.\.65535"):
        write_label_map(tmp_path / "a.nii", np.full(SHAPE, value), NAMES, scan)


def test_something_in_the_way(scan: Scan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(OutputError, match="is where a folder is needed"):
            write_masks(folder, ["liver"], masks_of(MASK), scan)
    (tmp_path / "out" / "liver.nii.gz").mkdir(parents=True)
    with pytest.raises(OutputError, match="a folder of that name exists"):
        write_masks(tmp_path / "out", ["spleen", "liver"], masks_of(MASK, MASK), scan)
    assert os.listdir(tmp_path / "out") == ["liver.nii.gz"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_folder_without_permission(scan: Scan, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="permission denied"):
        write_masks(tmp_path / "locked", ["liver"], masks_of(MASK), scan)

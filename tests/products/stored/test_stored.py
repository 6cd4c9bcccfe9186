"""Results in one file: written by segment, read again, exported to every format."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from support.dicom import Shot, phantom_hu, write_series
from support.samples import make_scan, small_card, small_model
from support.segmentations import oblique_affine, segmentation_of
from umlite.class_table import ClassTable
from umlite.classes import PUBLISHED
from umlite.cli import app
from umlite.errors import InputError, RequestError
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import ResampledMasks
from umlite.products.formats import LABEL_MAP, MASKS, SEG_NRRD
from umlite.products.place import Place
from umlite.products.product import Finished
from umlite.products.stored.product import StoredResult
from umlite.products.stored.reading import read_stored
from umlite.products.wanted import Wanted
from umlite.products.writing import write_products

CLASSES = "liver,right_kidney,liver_tumor"
Umlite = Callable[..., Result]


@pytest.fixture
def umlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Umlite:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def segment(umlite: Umlite, small_weights: Path, scan_file: Path) -> Umlite:
    shutil.copy(scan_file, "scan.nii.gz")
    fast = ("--device", "cpu", "--overlap", "0", "--weights", small_weights, "--quiet")

    def run(*arguments: str, scan: str = "scan.nii.gz", classes: str = CLASSES) -> Result:
        result = umlite("segment", scan, "-c", classes, *arguments, *fast)
        assert result.exit_code == 0, result.output
        return result

    return run


def contents(folder: str) -> dict[str, bytes]:
    files = (path for path in Path(folder).rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    "options",
    [
        ("-o", "out/masks"),
        ("-o", "out/labels.nii.gz", "--color-table"),
        ("-o", "out/labels.nii"),
        ("-o", "out/x.seg.nrrd", "--names", "totalsegmentator"),
        ("-o", "out", "--layout", "atlas", "--names", "abdomenatlas"),
        ("-o", "out/x.umlite.nii.gz"),
    ],
)
def test_what_is_exported_is_what_segment_writes(segment: Umlite, umlite: Umlite, options: tuple[str, ...]) -> None:
    segment("-o", "scan.umlite.nii.gz")
    segment(*options)
    Path("out").rename("segmented")
    assert umlite("export", "scan.umlite.nii.gz", *options).exit_code == 0
    expected, found = contents("segmented"), contents("out")
    assert sorted(expected) == sorted(found)
    if not options[1].endswith(".umlite.nii.gz"):
        assert expected == found
    else:
        assert np.array_equal(*(np.asarray(nib.load(f"{d}/x.umlite.nii.gz").dataobj) for d in ("segmented", "out")))


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_masks_on_any_grid_survive(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 14, 3).tolist())
    chosen = rng.permutation([c.name for c in PUBLISHED])[: rng.integers(1, 33)].tolist()
    masks = {name: rng.random(shape) < rng.choice((0, 0.02, 0.5)) for name in chosen}
    affine = oblique_affine(rng, sheared=bool(seed % 2)).astype(np.float32).astype(np.float64)  # as in a file
    result = segmentation_of(masks, rng.integers(-1000, 1000, shape).astype(np.int16), affine)
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "x.umlite.nii.gz"
        write_products([StoredResult()], Finished(result), Place(path, False), manifest_path=None, overwrite=False)
        found = read_stored(path).result
        assert [c.name for c in found.classes] == chosen
        assert np.array_equal(found.affine, result.affine)
        for one in (MASKS, LABEL_MAP, SEG_NRRD):
            for told, written in (("before", result), ("after", found)):
                place = Place(folder / told / f"x{one.ending}", one.is_folder)
                write_products([one.make(Wanted())], Finished(written), place, manifest_path=None, overwrite=False)
        assert contents(f"{name}/before") == contents(f"{name}/after")


def test_some_classes_on_an_oblique_scan(segment: Umlite, umlite: Umlite) -> None:
    image = make_scan()
    turned = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, 0.2, 0.1) @ image.affine[:3, :3], [1, 2, 3])
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj).transpose(2, 0, 1)[::-1], turned), "turned.nii.gz")
    segment("-o", "a.umlite.nii.gz", scan="turned.nii.gz", classes="all")
    segment("-o", "segmented", scan="turned.nii.gz", classes="tumors")
    assert umlite("export", "a.umlite.nii.gz", "-c", "tumors", "-o", "out").exit_code == 0
    assert contents("out") == contents("segmented")
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert manifest["request"]["classes"] == manifest["classes"]
    assert manifest["exported"]["file"] == "a.umlite.nii.gz"


def test_nibabel_reads_bits_and_their_names(segment: Umlite) -> None:
    segment("-o", "scan.umlite.nii.gz", "--manifest", "m.json")
    segment("-o", "masks")
    image = nib.load("scan.umlite.nii.gz")
    bits, (extension,) = np.asarray(image.dataobj), image.header.extensions
    assert bits.dtype == np.uint32
    about = json.loads(extension.get_content())
    assert [row["name"] for row in about["classes"]] == CLASSES.split(",")
    assert [row["label"] for row in about["classes"]] == [6, 2, 27]
    for k, name in enumerate(CLASSES.split(",")):
        assert np.array_equal(bits >> k & 1, np.asarray(nib.load(f"masks/{name}.nii.gz").dataobj))
    told = json.loads(Path("m.json").read_text())
    assert about["run"]["input"]["sha256"] == told["input"]["sha256"]
    assert about["run"]["versions"] == told["versions"]
    assert str(Path.cwd()) not in json.dumps(about)


def test_the_published_classes_take_four_bytes_a_voxel(segment: Umlite) -> None:
    segment("-o", "scan.umlite.nii.gz", classes="all")
    stored = read_stored(Path("scan.umlite.nii.gz"))
    assert len(stored.result.classes) == 32
    assert nib.load("scan.umlite.nii.gz").get_data_dtype() == np.uint32


def test_forty_classes_take_eight_bytes_a_voxel(umlite: Umlite) -> None:
    card, rng = small_card(small_model(classes=40)), np.random.default_rng(4)
    masks = {c.name: rng.random((7, 6, 5)) > 0.5 for c in ClassTable(card.classes)}
    hu, affine = np.zeros((7, 6, 5), np.int16), np.diag([30.0, 30, 30, 1])
    one = segmentation_of({"liver": masks["liver"]}, hu, affine)
    bits = ResampledMasks(BitMask.from_masks(masks), one.computed.frame)
    result = replace(one, classes=tuple(ClassTable(card.classes)), masks=bits, card=card)
    place = Place(Path("a.umlite.nii.gz"), False)
    write_products([StoredResult()], Finished(result), place, manifest_path=None, overwrite=False)
    assert nib.load("a.umlite.nii.gz").get_data_dtype() == np.uint64
    assert umlite("export", "a.umlite.nii.gz", "-o", "out").exit_code == 0
    for name, mask in masks.items():
        assert np.array_equal(np.asarray(nib.load(f"out/{name}.nii.gz").dataobj), mask)


def test_planes_in_any_order(segment: Umlite, monkeypatch: pytest.MonkeyPatch) -> None:
    segment("-o", "scan.umlite.nii.gz")
    monkeypatch.setattr("umlite.masks.on_scan._SLAB_VOXELS", 3 * 20 * 20)
    masks = read_stored(Path("scan.umlite.nii.gz")).result.masks
    whole = np.concatenate([slab.words[0] for slab in masks.slabs()], axis=2)
    last = masks.shape[2]
    for first, end in ((0, 4), (4, 5), (2, 9), (last - 1, last), (0, last), (5, 5), (7, 8)):
        assert np.array_equal(masks.planes(first, end).words[0], whole[:, :, first:end])
    assert np.array_equal(masks.mask("liver"), whole & 1 != 0)
    assert masks.counts()["liver"] == np.count_nonzero(whole & 1)


def test_what_needs_the_scan_says_so_and_gets_it(segment: Umlite, umlite: Umlite) -> None:
    segment("-o", "scan.umlite.nii.gz")
    refused = umlite("export", "scan.umlite.nii.gz", "-o", "out", "--statistics")
    assert refused.exit_code == 2
    assert "give the scan" in refused.stderr
    assert "--scan" in refused.stderr
    assert not Path("out").exists()
    options = ("--statistics", "--scan", "scan.nii.gz", "--preview", "p.png")
    done = umlite("export", "scan.umlite.nii.gz", "-o", "out", *options)
    assert done.exit_code == 0, done.output
    segment("-o", "segmented", "--statistics")
    found, expected = (json.loads(Path(d, "statistics.json").read_text()) for d in ("out", "segmented"))
    assert [c["hu"] for c in found["classes"]] == [c["hu"] for c in expected["classes"]]
    nib.save(make_scan(seed=77), "other.nii.gz")
    refused = umlite("export", "scan.umlite.nii.gz", "-o", "new", "--statistics", "--scan", "other.nii.gz")
    assert refused.exit_code == 2
    assert "is not the scan of this run" in refused.stderr
    assert not Path("new").exists()
    refused = umlite("export", "scan.umlite.nii.gz", "-o", "new.dcm")
    assert refused.exit_code == 2
    assert "DICOM series" in refused.stderr


def test_dicom_objects_of_a_tilted_series_are_those_of_segment(segment: Umlite, umlite: Umlite) -> None:
    series = write_series(Path("study"), phantom_hu((24, 22, 14)), Shot(tilt_degrees=15, extra={"PatientID": "ID4711"}))
    for output in ("x.umlite.nii.gz", "segmented/x.dcm"):
        segment("-o", output, scan=str(series))
    done = umlite("export", "x.umlite.nii.gz", "-o", "out/x.dcm", "--scan", series)
    assert done.exit_code == 0, done.output
    assert contents("out") == contents("segmented")
    about = nib.load("x.umlite.nii.gz").header.extensions[0].get_content().decode()
    uid = pydicom.dcmread(next(series.iterdir())).SeriesInstanceUID
    assert not {word for word in ("ID4711", str(uid), str(Path.cwd())) if word in about}


def test_a_page_and_a_manifest_from_a_stored_result(segment: Umlite, umlite: Umlite) -> None:
    segment("-o", "x.umlite.nii.gz")
    options = ("--scan", "scan.nii.gz", "--report", "pages", "--manifest", "m.json", "--json")
    done = umlite("export", "x.umlite.nii.gz", "-o", "y.nii.gz", *options)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["checks"]
    assert sorted(contents("pages")) == ["index.html", "x.html"]
    listed = [entry["file"] for entry in json.loads(Path("m.json").read_text())["outputs"]]
    assert listed == ["y.nii.gz", "pages/x.html"]
    refused = umlite("export", "x.umlite.nii.gz", "-o", "new", "--mesh", "stl", "--scan", "scan.nii.gz")
    assert refused.exit_code == 2
    assert "segment the scan again" in refused.stderr


def test_a_stored_result_is_no_scan(segment: Umlite, umlite: Umlite) -> None:
    segment("-o", "x.umlite.nii.gz")
    refused = umlite("segment", "x.umlite.nii.gz", "--weights", "demo", "-o", "out")
    assert refused.exit_code == 2
    assert "keeps a result of umlite" in refused.stderr


def test_a_result_of_another_run_stays(segment: Umlite, umlite: Umlite) -> None:
    segment("-o", "x.umlite.nii.gz")
    segment("-o", "out")
    before = contents("out")
    assert "The output is empty" in umlite("export", "x.umlite.nii.gz", "-o", "").stderr
    assert "out is a folder: expected a result in one file" in umlite("export", "out", "-o", "new").stderr
    refused = umlite("export", "x.umlite.nii.gz", "-o", "out", "-c", "liver")
    assert refused.exit_code == 2
    assert "exists already" in refused.stderr
    assert contents("out") == before
    for _ in range(2):
        assert umlite("export", "x.umlite.nii.gz", "-o", "out", "-c", "liver", "--overwrite").exit_code == 0
    assert contents("out") == before


def test_what_it_does_not_hold(segment: Umlite, umlite: Umlite) -> None:
    segment("-o", "scan.umlite.nii.gz")
    stored = read_stored(Path("scan.umlite.nii.gz"))
    refused = umlite("export", "scan.umlite.nii.gz", "-c", "spleen", "-o", "out")
    assert refused.exit_code == 2
    assert "'spleen' is not among the 3 classes" in refused.stderr
    with pytest.raises(RequestError, match="no probabilities"):
        stored.result.probability("liver")
    with pytest.raises(RequestError, match="Segment the scan again"):
        _ = stored.result.computed
    with pytest.raises(InputError, match="holds masks and no HU"):
        _ = stored.result.scan.hu
    again = umlite("export", "scan.umlite.nii.gz", "-o", "scan.umlite.nii.gz", "--overwrite")
    assert again.exit_code == 2
    assert "would be replaced" in again.stderr


def test_other_files_are_refused(segment: Umlite, umlite: Umlite) -> None:
    segment("-o", "labels.nii.gz")
    for name in ("labels.nii.gz", "scan.nii.gz"):
        refused = umlite("export", name, "-o", "out")
        assert refused.exit_code == 2
        assert "keeps no result" in refused.stderr
    data = bytearray(Path("labels.nii.gz").read_bytes())
    Path("cut.umlite.nii.gz").write_bytes(data[: len(data) // 2])
    assert umlite("export", "cut.umlite.nii.gz", "-o", "out").exit_code == 2
    assert umlite("export", "nothing.umlite.nii.gz", "-o", "out").exit_code == 2


def test_bits_without_a_class_are_found(segment: Umlite) -> None:
    segment("-o", "scan.umlite.nii.gz")
    image = nib.load("scan.umlite.nii.gz")
    bits = np.asarray(image.dataobj).copy()
    bits[3, 3, 3] = 8
    nib.save(nib.Nifti1Image(bits, None, image.header), "odd.umlite.nii.gz")
    with pytest.raises(InputError, match="bits of more classes than it names"):
        read_stored(Path("odd.umlite.nii.gz"))

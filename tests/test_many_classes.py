"""More classes in one run than one integer has bits: the same masks as in runs of few classes, in every format."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from support.command_line import umlite
from support.dicom import Shot, phantom_hu, write_series
from support.packs import saved_pack
from support.samples import make_scan
from umlite import Segmenter
from umlite.products.stored.reading import read_stored
from umlite.results.label_table import read_label_names
from umlite.results.segmentation import Segmentation
from umlite.results.statistics import statistics

NAMES = tuple(f"part_{k}" for k in range(230)) + tuple(f"kind_{k}_tumor" for k in range(3))


@pytest.fixture(scope="module")
def pack(small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_pack(tmp_path_factory.mktemp("packs"), small_weights, NAMES)


@pytest.fixture(scope="module")
def segmenter(small_weights: Path, pack: Path) -> Segmenter:
    return Segmenter(small_weights, packs=[pack], device="cpu")


@pytest.fixture(scope="module")
def result(segmenter: Segmenter) -> Segmentation:
    return segmenter.segment(make_scan((30, 28, 26)))


@pytest.fixture(scope="module")
def stored(small_weights: Path, pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All classes of a scan in one file."""
    folder = tmp_path_factory.mktemp("stored")
    nib.save(make_scan((30, 28, 26)), folder / "scan.nii.gz")
    options = ("--weights", small_weights, "--with", pack, "--device", "cpu", "--quiet")
    umlite("segment", folder / "scan.nii.gz", "-o", folder / "all.umlite.nii.gz", *options)
    return folder / "all.umlite.nii.gz"


def test_every_class_is_what_a_run_of_few_classes_gives(segmenter: Segmenter, result: Segmentation) -> None:
    assert len(result.classes) == 265
    assert [word.dtype.itemsize for word in result.computed.on_model.words] == [8, 8, 8, 8, 4]
    names = [c.name for c in result.classes]
    for first in (0, 50, 230):
        some = names[first : first + 40]
        few = segmenter.segment(make_scan((30, 28, 26)), some)
        for name in some:
            assert np.array_equal(few.mask(name), result.mask(name)), name
    assert len({result.mask(name).tobytes() for name in NAMES}) > 200  # they differ, so that a mistake would show


def test_every_engine_gives_the_same(small_weights: Path, pack: Path, result: Segmentation) -> None:
    names = NAMES[:70]
    for options in ({"engine": "reference"}, {"kernels": "torch"}):
        other = Segmenter(small_weights, packs=[pack], device="cpu", **options).segment(make_scan((30, 28, 26)), names)
        differing = [int((other.mask(name) != result.mask(name)).sum()) for name in names[::9]]
        assert max(differing) <= 2  # voxels on the edge, where sums are rounded differently


def test_statistics_count_what_masks_hold(result: Segmentation) -> None:
    found = statistics(result)
    assert [row.voxels for row in found.classes] == [int(result.mask(c.name).sum()) for c in result.classes]
    shared = {overlap.classes: overlap.voxels for overlap in found.overlaps}
    for pair in (("liver", "part_70"), ("part_1", "part_200"), ("part_100", "kind_1_tumor")):
        assert shared.get(pair, 0) == int((result.mask(pair[0]) & result.mask(pair[1])).sum())


def test_a_stored_result_keeps_all(stored: Path, result: Segmentation) -> None:
    image = nib.load(stored)
    assert image.shape == (30, 28, 26, 5)
    assert image.get_data_dtype() == np.uint64
    kept = read_stored(stored)
    names = [c.name for c in result.classes]
    whole = kept.result.masks.planes(0, 26)
    for name in names:
        assert np.array_equal(whole.mask(name), result.mask(name)), name
    bits = np.asarray(image.dataobj)
    place = kept.result.masks.names.index("part_100")
    assert np.array_equal(bits[..., place // 64] >> np.uint64(place % 64) & np.uint64(1) != 0, result.mask("part_100"))
    some = kept.select("part_200,liver,part_3")
    assert np.array_equal(some.result.mask("part_200"), result.mask("part_200"))
    assert np.array_equal(some.result.mask("liver"), result.mask("liver"))


def test_exports(stored: Path, result: Segmentation, tmp_path: Path) -> None:
    umlite("export", stored, "-o", tmp_path / "labels.nii.gz")
    labels = nib.load(tmp_path / "labels.nii.gz")
    assert labels.get_data_dtype() == np.uint16
    table = read_label_names(tmp_path / "labels.nii.gz")
    assert table[265] == "kind_2_tumor"
    seen = np.asarray(labels.dataobj)
    for number in np.unique(seen[seen > 0]).tolist():
        assert result.mask(table[number])[seen == number].all()
    umlite("export", stored, "-c", "part_200,liver,kind_2_tumor", "-o", tmp_path / "out")
    for name in ("part_200", "liver", "kind_2_tumor"):
        assert np.array_equal(np.asarray(nib.load(tmp_path / f"out/{name}.nii.gz").dataobj), result.mask(name))
    umlite("export", stored, "-o", tmp_path / "all.seg.nrrd")
    data = (tmp_path / "all.seg.nrrd").read_bytes().split(b"\n\n", 1)[0].decode()
    assert "type: uint16" in data
    assert len(re.findall(r"^Segment\d+_ID:=", data, re.M)) == 265


def test_dicom_objects(small_weights: Path, pack: Path, tmp_path: Path) -> None:
    write_series(tmp_path / "series", phantom_hu(), Shot())
    options = ("-c", ",".join(NAMES[-70:]), "--weights", small_weights, "--with", pack, "--device", "cpu", "--quiet")
    umlite("segment", tmp_path / "series", "-o", tmp_path / "all.umlite.nii.gz", *options)
    umlite("segment", tmp_path / "series", "-o", tmp_path / "out.dcm", *options)
    counts = read_stored(tmp_path / "all.umlite.nii.gz").result.masks.counts()
    data = pydicom.dcmread(tmp_path / "out.dcm")
    assert len(data.SegmentSequence) == sum(count > 0 for count in counts.values()) > 32
    bits = np.unpackbits(np.frombuffer(data.PixelData, np.uint8), bitorder="little")
    assert bits.sum() == sum(counts.values())


def test_a_page_and_tables(small_weights: Path, pack: Path, tmp_path: Path) -> None:
    nib.save(make_scan((30, 28, 26)), tmp_path / "scan.nii.gz")
    options = ("-c", ",".join(NAMES[:70]), "--weights", small_weights, "--with", pack, "--device", "cpu", "--quiet")
    pictures = ("--report", tmp_path / "page.html", "--preview", tmp_path / "look.png", "--statistics")
    umlite("segment", tmp_path / "scan.nii.gz", "-o", tmp_path / "out", *pictures, *options)
    assert len(list((tmp_path / "out").glob("part_*.nii.gz"))) == 70
    assert len((tmp_path / "out" / "statistics.csv").read_text().splitlines()) == 71
    data = re.search(r'id="scan">(.*?)</script>', (tmp_path / "page.html").read_text(), re.S)
    assert data
    about = json.loads(data[1])
    assert len(about["classes"]) == 70
    assert {len(one) for one in about["sets"]} == {3}

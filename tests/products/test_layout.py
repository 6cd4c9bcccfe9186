"""Folders and names of other tool chains, through the command line."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from support.segmentations import segmentation_of
from umlite.cli import app
from umlite.outputs.leftovers import recover
from umlite.outputs.temporary import existing
from umlite.products.choice import products_of
from umlite.products.formats import LABEL_MAP
from umlite.products.layout import lay_out
from umlite.products.place import Place
from umlite.products.product import Finished
from umlite.products.wanted import Wanted
from umlite.products.writing import write_products
from umlite.results.label_table import read_label_names

Segment = Callable[..., Result]


@pytest.fixture
def segment(tmp_path: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Segment:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, classes: str = "liver,right_kidney,liver_tumor") -> Result:
        fast = ("--device", "cpu", "--overlap", "0", "--weights", str(small_weights))
        return CliRunner().invoke(app, ["segment", *arguments, "-c", classes, *fast, "--quiet"])

    return run


def scans(scan_file: Path, *names: str) -> list[str]:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scan_file, name)
    return list(names)


def files(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def test_atlas(segment: Segment, scan_file: Path) -> None:
    given = scans(scan_file, "data/BDMAP_1/ct.nii.gz", "data/BDMAP_2/ct.nii.gz", "data/patient.nii.gz")
    assert segment(*given, "-o", "out", "--layout", "atlas", "--names", "abdomenatlas").exit_code == 0
    masks = ["kidney_right.nii.gz", "liver.nii.gz", "liver_lesion.nii.gz"]
    cases = ("BDMAP_1", "BDMAP_2", "patient")
    assert files("out") == [f"{case}/segmentations/{file}" for case in cases for file in (*masks, "manifest.json")]
    result = CliRunner().invoke(app, ["eval", "out", "out", "--json"])
    assert result.exit_code == 0, result.output
    assert {row["name"] for row in json.loads(result.stdout)["cases"][0]["classes"]} >= {"liver", "liver_tumor"}


def test_atlas_label_map_beside_the_scan(segment: Segment, scan_file: Path) -> None:
    given = scans(scan_file, "BDMAP_1/ct.nii.gz")
    assert segment(*given, "--layout", "atlas", "--label-map", "--color-table").exit_code == 0
    assert files("BDMAP_1") == [
        "combined_labels.ctbl",
        "combined_labels.nii.gz",
        "combined_labels_manifest.json",
        "ct.nii.gz",
    ]


def test_bids(segment: Segment, scan_file: Path) -> None:
    bids = ("raw/sub-01/ses-a/ct/sub-01_ses-a_acq-thin_ct.nii.gz", "raw/sub-02/anat/sub-02_desc-x_ct.nii.gz")
    given = scans(scan_file, *bids, "other/John 1.nii.gz")
    Path("raw/dataset_description.json").write_text('{"Name": "raw", "BIDSVersion": "1.10.0"}')
    out = "raw/derivatives/umlite"
    assert segment(*given, "-o", out, "--layout", "bids", "--names", "totalsegmentator").exit_code == 0
    starts = (
        "sub-01/ses-a/ct/sub-01_ses-a_acq-thin_desc-umlite",
        "sub-02/anat/sub-02_desc-x",
        "sub-John1/anat/sub-John1_desc-umlite",
    )
    ends = ("_dseg.nii.gz", "_dseg.tsv", "_dseg_manifest.json")
    assert files(out) == ["dataset_description.json", *sorted(start + end for start in starts for end in ends)]
    description = json.loads(Path(out, "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "umlite"
    assert description["SourceDatasets"] == [{"URL": "../.."}]
    label_map = Path(out, starts[0] + "_dseg.nii.gz")
    assert read_label_names(label_map) == {6: "liver", 2: "kidney_right", 27: "liver_tumor"}
    with open(Path(out, starts[0] + "_dseg.tsv")) as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert rows[2] == {"index": "2", "name": "kidney_right", "color": "#326eff"}
    assert set(np.unique(nib.load(label_map).dataobj)) <= {int(row["index"]) for row in rows}
    again = segment(*given, "-o", out, "--layout", "bids", "--names", "totalsegmentator", "--overwrite")
    assert again.exit_code == 0, again.output
    told = json.loads(Path(out, starts[0] + "_dseg_manifest.json").read_text())
    assert [entry["file"] for entry in told["outputs"]] == [Path(starts[0] + end).name for end in ends[:2]]
    assert description == json.loads(Path(out, "dataset_description.json").read_text())


@pytest.mark.parametrize("options", [("atlas",), ("atlas", "--label-map"), ("bids", "--names", "abdomenatlas")])
def test_a_run_into_a_layout_can_be_reproduced(segment: Segment, scan_file: Path, options: tuple[str, ...]) -> None:
    scans(scan_file, "data/sub-1/ct.nii.gz")
    assert segment("data", "-o", "data", "--layout", *options).exit_code == 0
    (manifest,) = Path("data").rglob("*manifest.json")
    outcome = CliRunner().invoke(app, ["reproduce", str(manifest), "--json"])
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.stdout)["different"] == []
    again = segment("data", "-o", "data", "--layout", *options)
    assert again.exit_code == 0, again.output
    assert len(list(Path("data").rglob("*manifest.json"))) == 1


def test_many_results_join_a_dataset_at_the_same_time(tmp_path: Path) -> None:
    masks = {"liver": np.ones((6, 6, 6), bool)}
    result = segmentation_of(masks, np.zeros((6, 6, 6), np.int16), np.diag([30.0, 30, 30, 1]))
    products = products_of(Wanted(layout="bids"), LABEL_MAP)
    places = lay_out("bids", [tmp_path / f"sub-{n}_ct.nii" for n in range(16)], [""] * 16, tmp_path / "out", ".nii.gz")

    def write(place: Place) -> None:
        recover(existing(place.home))
        write_products(products, Finished(result), place, manifest_path=None, overwrite=False)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, places))
    out = tmp_path / "out"
    assert len(files(str(out))) == 2 * 16 + 1
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"


def test_a_raw_dataset_is_no_place_for_derivatives(segment: Segment, scan_file: Path) -> None:
    given = scans(scan_file, "raw/sub-01/ct/sub-01_ct.nii.gz")
    Path("raw/dataset_description.json").write_text('{"Name": "raw", "BIDSVersion": "1.10.0"}')
    refused = segment(*given, "-o", "raw", "--layout", "bids")
    assert refused.exit_code == 2
    assert "describes no derivatives" in refused.stderr
    assert files("raw") == ["dataset_description.json", "sub-01/ct/sub-01_ct.nii.gz"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--layout", "tidy"], "Unknown layout 'tidy'"),
        (["--names", "snomed"], "Unknown names 'snomed'"),
        (["--layout", "bids", "--format", "masks"], "holds label maps, not masks"),
        (["--layout", "atlas", "-o", "x.nii.gz"], "needs a folder"),
        (["--color-table"], "belongs to a label map, not to masks"),
    ],
)
def test_what_does_not_go_together(segment: Segment, scan_file: Path, arguments: list[str], said: str) -> None:
    refused = segment(*scans(scan_file, "a.nii.gz"), *arguments)
    assert refused.exit_code == 2
    assert said in refused.stderr
    assert files(".") == ["a.nii.gz"]


def test_two_scans_with_one_place_are_refused(segment: Segment, scan_file: Path) -> None:
    refused = segment(*scans(scan_file, "a-1.nii.gz", "a_1.nii.gz"), "--layout", "bids")
    assert refused.exit_code == 2
    assert "would both get" in refused.stderr


def test_a_colour_table_is_read_by_its_numbers(segment: Segment, scan_file: Path) -> None:
    given = scans(scan_file, "a.nii.gz")
    assert segment(*given, "-o", "labels.nii.gz", "--color-table", "--names", "abdomenatlas").exit_code == 0
    assert files(".") == ["a.nii.gz", "labels.ctbl", "labels.nii.gz"]
    rows = [line.split() for line in Path("labels.ctbl").read_text().splitlines() if not line.startswith("#")]
    assert {int(row[0]): row[1] for row in rows[1:]} == read_label_names("labels.nii.gz")
    assert rows[1] == ["2", "kidney_right", "50", "110", "255", "255"]


def test_names_are_those_of_files_and_probabilities(segment: Segment, scan_file: Path) -> None:
    given = scans(scan_file, "a.nii.gz")
    options = ("-o", "out", "--names", "totalsegmentator", "--probabilities")
    assert segment(*given, *options, classes="postcava").exit_code == 0
    assert files("out") == ["inferior_vena_cava.nii.gz", "inferior_vena_cava_probability.nii.gz", "manifest.json"]

"""From what is named to scans: folders, patterns, lists, standard input."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from umlite.batch.inputs import expand, without_masks
from umlite.batch.jobs import lay_out_jobs
from umlite.errors import InputError
from umlite.products.formats import LABEL_MAP, MASKS


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scans in folders of folders, and other files."""
    for name in (
        *("scans/a.nii.gz", "scans/a.nii", "scans/deep/er/b.NII.GZ", "scans/deep/pair.hdr", "scans/deep/pair.img"),
        *("scans/notes.txt", "scans/.hidden.nii", "scans/.git/c.nii", "scans/p1/dicom/1", "scans/p1/dicom/2"),
        *("scans/done/liver.nii.gz", "scans/maps/x.nii.gz", "scans/maps/x_manifest.json", "scans/maps/y.nii.gz"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("done/manifest.json", "maps/x_manifest.json"):
        (tmp_path / "scans" / name).write_text('{\n  "kind": "umlite run",\n')
    monkeypatch.chdir(tmp_path)
    return Path("scans")


def names(inputs: object) -> list[str]:
    return [str(path) for path in inputs.paths]  # type: ignore[attr-defined]


IN_FOLDER = ["scans/a.nii", "scans/a.nii.gz", "scans/deep/pair.hdr", "scans/deep/er/b.NII.GZ", "scans/maps/y.nii.gz"]


def test_a_folder_is_searched_without_results(tree: Path) -> None:
    inputs = expand([tree])
    assert names(inputs) == [*IN_FOLDER, "scans/p1"]
    assert set(inputs.roots.values()) == {tree}


def test_the_folder_of_results_is_not_searched(tree: Path) -> None:
    assert "scans/deep/pair.hdr" not in names(expand([tree], tree / "deep"))
    assert names(expand([tree], tree)) == [*IN_FOLDER, "scans/p1"]


def test_a_folder_without_scans_may_hold_dicom(tree: Path) -> None:
    inputs = expand([tree / "p1"])
    assert names(inputs) == ["scans/p1"]
    assert inputs.roots == {}


def test_a_result_in_place_of_a_scan_is_noted(tree: Path) -> None:
    notes: list[str] = []
    assert expand([tree / "done"], notify=notes.append).paths == [tree / "done"]
    assert notes == [f"{tree / 'done'} holds a result of an earlier run, which is no scan."]


def test_links_are_followed_once(tree: Path) -> None:
    (tree / "deep" / "loop").symlink_to("..")
    (tree / "link.nii").symlink_to("a.nii")
    assert names(expand([tree])) == [*IN_FOLDER[:2], "scans/link.nii", *IN_FOLDER[2:], "scans/p1"]


def test_masks_beside_a_scan_are_passed_over(tmp_path: Path) -> None:
    scan, mask, scaled = (tmp_path / "s1" / name for name in ("ct.nii.gz", "masks/liver.nii.gz", "scaled.nii"))
    mask.parent.mkdir(parents=True)
    for path, dtype, slope in ((scan, np.int16, 1), (mask, np.uint8, 1), (scaled, np.uint8, 10)):
        image = nib.Nifti1Image(np.zeros((4, 4, 4), dtype), np.eye(4))
        image.header.set_slope_inter(slope, 0)
        nib.save(image, path)
    told: list[str] = []
    assert without_masks(expand([tmp_path]), notify=told.append).paths == [scan, scaled]
    assert without_masks(expand([str(tmp_path / "**/*.nii*")])).paths == [scan, scaled]
    assert told == [f"Passed over a file of 8-bit numbers, which are masks and no HU: {mask}"]
    assert set(without_masks(expand([tmp_path, mask])).paths) == {scan, scaled, mask}
    with pytest.raises(InputError, match="expected CT scans, found masks"):
        without_masks(expand([mask.parent]))


def test_patterns(tree: Path) -> None:
    inputs = expand(["scans/**/*.nii*"])
    assert names(inputs) == ["scans/a.nii", "scans/a.nii.gz", "scans/done/liver.nii.gz", "scans/maps/y.nii.gz"]
    assert set(inputs.roots.values()) == {tree}
    assert names(expand(["sc*s/deep"])) == ["scans/deep/pair.hdr", "scans/deep/er/b.NII.GZ"]
    with pytest.raises(InputError, match="No file matches"):
        expand(["scans/*.dcm"])
    (tree / "[1].nii").touch()
    assert names(expand(["scans/[1].nii"])) == ["scans/[1].nii"]


@pytest.mark.usefixtures("tree")
def test_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# scans\nscans/a.nii\n\n  scans/deep  \n"
    Path("list.txt").write_text("\ufeff" + text)
    listed = ["scans/a.nii", "scans/deep/pair.hdr", "scans/deep/er/b.NII.GZ"]
    assert names(expand(["@list.txt"])) == listed
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert names(expand(["-"])) == listed
    Path("bad.txt").write_bytes(b"\xff\xff")
    for bad in ("@absent.txt", "@bad.txt", "@scans"):
        with pytest.raises(InputError, match="Cannot read the list"):
            expand([bad])


def test_a_file_that_is_not_there_stays_and_fails_alone() -> None:
    assert names(expand(["absent.nii", "a/b.dcm"])) == ["absent.nii", "a/b.dcm"]


def laid_out(output: str | None, chosen: object = MASKS) -> Callable[..., list[str]]:
    def places(*words: str) -> list[str]:
        inputs = expand(words)
        jobs = lay_out_jobs(inputs.paths, output and Path(output), chosen, roots=inputs.roots)  # type: ignore[arg-type]
        assert len({job.place.name.lower() for job in jobs}) == len(jobs)
        return [str(job.output) for job in jobs]

    return places


@pytest.mark.usefixtures("tree")
def test_results_mirror_the_tree() -> None:
    assert laid_out("out")("scans/deep") == ["out/pair", "out/er/b"]
    assert laid_out("out", LABEL_MAP)("scans/deep") == ["out/pair.nii.gz", "out/er/b.nii.gz"]
    assert laid_out(None)("scans/deep") == ["deep_segmentation/pair", "deep_segmentation/er/b"]
    assert laid_out("out")("scans/maps") == ["out/y"]  # one scan of a folder is still one of a folder
    assert laid_out("out")("scans/a.nii*") == ["out/a_nii", "out/a_nii_gz"]


@pytest.mark.usefixtures("tree")
def test_trees_that_look_alike_are_told_apart_by_their_names() -> None:
    for name in ("one/ct.nii", "two/ct.nii"):
        Path(name).parent.mkdir()
        Path(name).touch()
    assert laid_out("out")("one", "two") == ["out/one/ct", "out/two/ct"]
    assert laid_out("out")("one", "two/ct.nii", "scans/deep") == ["out/one/ct", "out/two_ct", *(
        "out/deep/pair", "out/deep/er/b")]  # fmt: skip
    assert laid_out("out")(os.path.abspath("one")) == ["out/ct"]

"""Where results of several scans go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umlite.batch.jobs import Job, lay_out_jobs
from umlite.errors import RequestError
from umlite.products.formats import LABEL_MAP, MASKS, format_of
from umlite.products.place import Place

names = st.sampled_from(["ct", "CT", "a", "a_ct", "b", "..", "x.nii"])
paths = st.builds(lambda folders, name, end: Path(*folders, name + end), st.lists(names, max_size=3), names,
                  st.sampled_from([".nii.gz", ".nii", ".NII.GZ"]))  # fmt: skip


def outputs(scans: list[str], output: str | None, **options) -> list[str]:
    place = None if output is None else Path(output)
    chosen = options.pop("chosen", None) or format_of(place, None)
    return [str(job.output) for job in lay_out_jobs([Path(s) for s in scans], place, chosen, **options)]


def test_one_scan() -> None:
    assert outputs(["x/ct.nii.gz"], "out") == ["out"]
    assert outputs(["x/ct.nii.gz"], "out/all.nii.gz") == ["out/all.nii.gz"]
    assert outputs(["x/ct.nii.gz"], "out", chosen=LABEL_MAP) == ["out/ct.nii.gz"]
    assert outputs(["x/ct.nii.gz"], None) == ["ct_segmentation"]
    assert outputs(["x/ct.nii.gz"], None, chosen=LABEL_MAP) == ["ct_segmentation.nii.gz"]


def test_several_scans() -> None:
    assert outputs(["a.nii.gz", "b.nii"], "out") == ["out/a", "out/b"]
    assert outputs(["a.nii.gz", "b.nii"], "out", chosen=LABEL_MAP) == ["out/a.nii.gz", "out/b.nii.gz"]
    assert outputs(["a.nii.gz", "b.nii"], None) == ["a_segmentation", "b_segmentation"]
    with pytest.raises(RequestError, match="2 scans cannot share") as refused:
        outputs(["a.nii.gz", "b.nii"], "out.nii.gz")
    assert refused.value.about == ("output", "format")


def test_same_names_are_told_apart_by_their_folders() -> None:
    assert outputs(["/p/one/ct.nii.gz", "/p/two/ct.nii.gz"], "out") == ["out/one_ct", "out/two_ct"]
    assert outputs(["/p/ct.nii.gz", "/p/ct.nii"], "out") == ["out/ct_nii_gz", "out/ct_nii"]
    assert outputs(["/p/CT.nii.gz", "/q/ct.nii"], "out") == ["out/p_CT", "out/q_ct"]


def test_a_name_given_twice_is_done_once_and_said(tmp_path: Path) -> None:
    scan, again = tmp_path / "ct.nii.gz", tmp_path / "." / "x" / ".." / "ct.nii.gz"
    said: list[str] = []
    (job,) = lay_out_jobs([scan, again], tmp_path / "out", notify=said.append)
    assert job == Job(scan, Place(tmp_path / "out" / "ct", name="ct"))  # two names: the layout of several scans
    assert said == [f"{again} is given more than once and segmented once."]


def test_links_to_one_file_are_scans_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "annex").mkdir()
    (tmp_path / "annex" / "MD5E-s1234.nii.gz").touch()
    links = [tmp_path / f"sub-{n}.nii.gz" for n in ("01", "02")]
    for link in links:
        link.symlink_to("annex/MD5E-s1234.nii.gz")
    jobs = lay_out_jobs(links, tmp_path / "out", notify=pytest.fail)
    assert jobs == [
        Job(link, Place(tmp_path / "out" / name, name=name))
        for link, name in zip(links, ("sub-01", "sub-02"), strict=True)
    ]


@given(st.lists(paths, min_size=1, max_size=8), st.booleans())
def test_outputs_never_collide(scans: list[Path], label_map: bool) -> None:
    jobs = lay_out_jobs(scans, Path("out"), LABEL_MAP if label_map else MASKS)
    places = [str(job.output).lower() for job in jobs]
    assert len(set(places)) == len(places)
    assert {os.path.abspath(job.scan) for job in jobs} == {os.path.abspath(scan) for scan in scans}
    if len(scans) > 1:
        assert all(job.output.parent == Path("out") for job in jobs)


def test_derived_names_do_not_decide_what_is_written(tmp_path: Path) -> None:
    scans = [tmp_path / "x.nii.nii.gz", tmp_path / "...nii.gz", tmp_path / "t.nii"]
    jobs = lay_out_jobs(scans, tmp_path / "out")
    assert [job.place.is_folder for job in jobs] == [True] * 3
    assert [job.output.relative_to(tmp_path / "out").name for job in jobs] == ["x.nii", "scan", "t"]


@pytest.mark.parametrize(
    "name",
    ["seg.nrrd", "x.nrrd", "S.MHA", "a.mgz", "c.hdr", "d.nii.bz2", "e.zip", "f.png", "g.tar.gz", "h.gz"],
)
def test_names_of_other_formats_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"ends in \.nii\.gz, .*, found") as refused:
        format_of(tmp_path / name, None)
    assert refused.value.about == ("output",)
    (tmp_path / name).mkdir()
    assert outputs(["a.nii"], str(tmp_path / name)) == [str(tmp_path / name)]
    assert outputs(["a.nii"], "v1.2") == ["v1.2"]

"""Files of jobs: CSV and JSON lines, and what they may not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from umlite.batch.job_list import Entry, read_jobs
from umlite.errors import RequestError
from umlite.request import Request

BASE = Request(("liver",), overlap=0.25)


def entries(tmp_path: Path, text: str, name: str = "jobs.jsonl") -> list[Entry]:
    path = tmp_path / name
    path.write_text(text)
    return list(read_jobs(path, BASE))


def test_json_lines(tmp_path: Path) -> None:
    text = '{"scan": "a.nii"}\n\n{"scan": "b.nii", "classes": "spleen, aorta", "output": "x", "probabilities": true}\n'
    assert entries(tmp_path, text) == [
        Entry(Path("a.nii")),
        Entry(
            Path("b.nii"), Path("x"), request=Request(("spleen", "aorta"), overlap=0.25, probabilities=True)
        ),
    ]  # fmt: skip


def test_csv(tmp_path: Path) -> None:
    text = '\ufeffscan,classes,overlap,probabilities,output\na.nii,,,,\n"b,1.nii","spleen,aorta",0.5,yes,x.nii.gz\n'
    assert entries(tmp_path, text, "jobs.CSV") == [
        Entry(Path("a.nii")),
        Entry(Path("b,1.nii"), Path("x.nii.gz"), request=Request(("spleen", "aorta"), probabilities=True)),
    ]


def test_a_list_of_failed_scans_is_a_list_of_jobs(tmp_path: Path) -> None:
    text = '{"scan": "a.nii", "error": "It is cut short.", "code": "input", "series": "1.2.3", "format": "label-map"}'
    assert entries(tmp_path, text) == [Entry(Path("a.nii"), series="1.2.3", format="label-map")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "line 1: expected a JSON object"),
        ('{"scan": "a.nii"}\n[1]', "line 2: expected a JSON object"),
        ("{}", "expected a scan, found none"),
        ('{"scan": 3}', "expected scan as text"),
        ('{"scan": "a\\u0000"}', "expected scan as text"),
        ('{"scan": "a", "overlap": 2}', "overlap of at least 0"),
        ('{"scan": "a", "overlap": "much"}', "overlap: expected float"),
        ('{"scan": "a", "colour": "red"}', "Unknown request: colour"),
        ("[" * 9999, "line 1: expected a JSON object"),
    ],
)
def test_lines_that_are_no_jobs(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        entries(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("absent", "binary", "."):
        with pytest.raises(RequestError, match="Cannot read jobs"):
            list(read_jobs(tmp_path / name, BASE))

"""The examples of docs run, and its tables name every column."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from support.docs import DOCS, examples, run_lines
from support.packs import saved_pack
from support.samples import published_state, small_model
from support.segmentations import blobs
from support.verdicts import MIRRORED
from umlite.classes import PUBLISHED
from umlite.evaluation.tolerances import TOLERANCES_MM
from umlite.names import NAMES
from umlite.products.formats import FORMATS


def columns(page: str) -> list[str]:
    """Names in the first column of a page's tables, in order; NAME_* stands for three."""
    cells = re.findall(r"^\| (`.*?`) \|", (DOCS / page).read_text(), flags=re.M)
    names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    return [name.replace("*", axis) for name in names for axis in ("xyz" if name.endswith("*") else " ")]


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_weights: Path, scan_file: Path) -> None:
    """A folder with a scan, and one installed model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UMLITE_WEIGHTS", str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    shutil.copy(small_weights, tmp_path / "store" / "small.safetensors")
    shutil.copy(scan_file, tmp_path / "scan.nii.gz")
    rng = np.random.default_rng(0)
    for folder, case, name in itertools.product(("predictions", "truth"), "ABC", ("liver", "liver_tumor")):
        path = tmp_path / folder / case / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(blobs(rng, (12, 12, 12), 0.1).astype(np.uint8), np.eye(4)), path)


def test_statistics() -> None:
    run_lines(examples("statistics.md", "sh")[0])
    found: list[str] = []
    for name in ("statistics", "lesions"):
        with open(f"results/{name}.csv") as file:
            found += next(csv.reader(file))
    assert sorted(columns("statistics.md")) == sorted(name for name in found if name != "name")


def test_statistics_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    exec(examples("statistics.md", "python")[0], {})
    assert re.match(r"\d+\.\d+ \[\d", capsys.readouterr().out)


def test_checks(capsys: pytest.CaptureFixture[str]) -> None:
    (scan,) = json.loads(run_lines(examples("checks.md", "sh")[0]))["scans"]
    assert {"code", "level", "sentence", "classes", "evidence"} == set(scan["checks"][0])
    assert set(json.loads(examples("checks.md", "json")[0])) == set(scan["checks"][0])
    exec(examples("checks.md", "python")[0], {})
    assert re.match(r"(warning|note) [\w-]+ \w", capsys.readouterr().out)


def test_eval() -> None:
    shown = run_lines(examples("eval.md", "sh")[0])
    assert "3 cases" in shown
    assert "liver_tumor" in shown
    with open("evaluation/cases.csv") as file:
        found = next(csv.reader(file))
    assert [name for name in columns("eval.md") if name not in found and not name.endswith(tuple("xyz"))] == []
    assert sorted(set(found) - set(columns("eval.md"))) == ["case", "class"]


def test_eval_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    exec(examples("eval.md", "python")[0], {})
    assert re.match(r"liver 0\.\d+", capsys.readouterr().out)


def test_formats() -> None:
    for block in examples("formats.md", "sh"):
        run_lines(block)
    assert Path("labels.ctbl").exists()
    assert Path("atlas/scan/segmentations/liver_lesion.nii.gz").exists()
    assert Path("derivatives/umlite/sub-scan/anat/sub-scan_desc-umlite_dseg.tsv").exists()
    assert Path("numbers/statistics.csv").exists()
    page = (DOCS / "formats.md").read_text()
    assert [name for name in FORMATS if f"| `{name}` |" not in page] == []


def test_formats_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    run_lines(examples("formats.md", "sh")[1].splitlines()[0])
    exec(examples("formats.md", "python")[0], {})
    assert re.match(r"liver \d+\nspleen \d+", capsys.readouterr().out.split("\n\n")[-1].split("gz\n")[-1])


def test_names_are_those_of_the_table() -> None:
    rows = re.findall(r"^\| (\w+) \| (\w*) \| (\w*) \|$", (DOCS / "formats.md").read_text(), flags=re.M)
    others = [NAMES[tool] for tool in ("abdomenatlas", "totalsegmentator")]
    named = [c.name for c in PUBLISHED if any(c.name in table for table in others)]
    assert rows == [
        ("class", "abdomenatlas", "totalsegmentator"),
        *((name, *(table.get(name, "") for table in others)) for name in named),
    ]


def test_tolerances_are_those_of_the_code() -> None:
    line = next(line for line in (DOCS / "eval.md").read_text().splitlines() if line.startswith("Tolerances, mm: "))
    found = dict(part.rsplit(" ", 1) for part in line.removeprefix("Tolerances, mm: ").rstrip(".").split(", "))
    assert found == {name: f"{mm:g}" for name, mm in TOLERANCES_MM.items()}


def test_report() -> None:
    shutil.copy("scan.nii.gz", "second.nii.gz")
    for block in examples("report.md", "sh"):
        run_lines(block)
    assert Path("preview.png").stat().st_size > 1000
    assert Path("report.html").stat().st_size > 10_000
    assert sorted(file.name for file in Path("pages").iterdir()) == ["index.html", "scan.html", "second.html"]


def test_report_in_python() -> None:
    exec(examples("report.md", "python")[0], {})
    assert "<bdi>Own title</bdi>" in Path("own.html").read_text()


def two_visits() -> None:
    """The results of two scans of one patient, with a lesion that grows, and the scans."""
    for name, radius in (("march", 3.0), ("september", 5.0)):
        Path(name).mkdir()
        places = np.indices((24, 24, 24)) - np.reshape([12, 12, 12], (3, 1, 1, 1))
        masks = {"liver": np.abs(places).max(axis=0) < 10, "liver_tumor": (places**2).sum(axis=0) <= radius**2}
        affine = np.diag([3.0, 3, 3, 1])
        for organ, mask in masks.items():
            nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), f"{name}/{organ}.nii.gz")
        nib.save(nib.Nifti1Image(np.full((24, 24, 24), 60, np.int16), affine), f"{name}.nii.gz")


def test_compare() -> None:
    two_visits()
    assert "growing" in run_lines(examples("compare.md", "sh")[0])
    with open("change/lesion_changes.csv") as file:
        found = next(csv.reader(file))
    verdicts = set(MIRRORED)
    assert [name for name in columns("compare.md") if name.strip() not in verdicts] == found
    assert {name.strip() for name in columns("compare.md")} - set(found) == verdicts


def test_compare_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    two_visits()
    exec(examples("compare.md", "python")[0], {})
    assert capsys.readouterr().out.startswith("growing liver_tumor ")


def test_mesh() -> None:
    run_lines(examples("mesh.md", "sh")[0])
    assert {path.name for path in Path("surfaces").glob("*.[sg]*")} >= {"liver.stl", "spleen.stl", "liver.glb"}


def test_mesh_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    exec(examples("mesh.md", "python")[0], {})
    assert re.match(r"\d+ \d+\.\d+", capsys.readouterr().out)


def test_reproduce() -> None:
    assert "Reproduced." in run_lines(examples("reproduce.md", "sh")[0])
    told = re.findall(
        r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", (DOCS / "reproduce.md").read_text(), flags=re.M))
    )
    manifest = json.loads(Path("result/manifest.json").read_text())
    assert set(told) == set(manifest) - {"kind", "schema", "umlite", "classes"}


def test_packs_of_the_page_on_new_classes(small_weights: Path) -> None:
    for seed, name in enumerate(("left_atrium", "heart")):
        saved_pack(Path(), small_weights, [name], seed=seed)
    shown = run_lines(examples("extend.md", "sh")[1])
    assert "left_atrium" in shown
    assert "Classes: atrium" in shown


def test_a_segresnet() -> None:
    torch.save({"net": published_state(small_model("segresnet", classes=25))}, "organs.pth")
    assert "segresnet, 25 classes" in run_lines(examples("segresnet.md", "sh")[0])
    assert sorted(path.name for path in Path("masks").glob("*.nii.gz")) == [
        "aorta.nii.gz",
        "liver.nii.gz",
        "spleen.nii.gz",
    ]

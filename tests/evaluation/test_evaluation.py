"""Folders in every layout, and `umlite eval` as its users meet it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from support.segmentations import blobs
from umlite.classes import PUBLISHED
from umlite.cli import app
from umlite.errors import RequestError
from umlite.evaluation.cases import find_cases, match_cases
from umlite.evaluation.evaluation import EvaluationOptions, evaluate
from umlite.evaluation.naming import case_key, read_names
from umlite.results.label_table import label_extension
from umlite.results.metrics import dice

AFFINE = np.diag([-1.5, 1.0, 2.0, 1.0])
NUMBERS = {"spleen": 1, "liver": 6, "liver_tumor": 27}


def masks_of(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: blobs(rng, (14, 13, 12), share)
        for name, share in (("spleen", 0.2), ("liver", 0.3), ("liver_tumor", 0.05))
    }


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE, names: dict[str, int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array.astype(np.uint8 if array.dtype == bool else array.dtype), affine)
    if names:
        image.header.extensions.append(label_extension({n: (name, (1, 2, 3)) for name, n in names.items()}))
    nib.save(image, path)


def save_masks(folder: Path, masks: dict[str, np.ndarray], **spelling: str) -> None:
    for name, mask in masks.items():
        save(folder / f"{spelling.get(name, name)}.nii.gz", mask)


def label_map(masks: dict[str, np.ndarray]) -> np.ndarray:
    labels = np.zeros((14, 13, 12), np.uint8)
    for name, number in NUMBERS.items():
        labels[masks[name]] = number
    return labels


@pytest.fixture(autouse=True)
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_layouts() -> None:
    """Predictions of umlite against AbdomenAtlas, TotalSegmentator's folders and label maps: same numbers."""
    cases = {"BDMAP_1": 1, "BDMAP_2": 2}
    for case, seed in cases.items():
        masks = masks_of(seed)
        save_masks(Path("ours") / f"{case}_ct", masks_of(seed + 10))
        save(Path("ours") / f"{case}_ct" / "liver_probability.nii.gz", np.zeros((2, 2, 2)))
        save(Path("atlas") / case / "ct.nii.gz", np.zeros((14, 13, 12), np.int16))
        save(Path("atlas") / case / "combined_labels.nii.gz", label_map(masks))
        save_masks(Path("atlas") / case / "segmentations", masks, liver_tumor="liver_lesion")
        save_masks(Path("folders") / case, masks)
        save(Path("named") / f"{case}.nii.gz", label_map(masks), names=NUMBERS)
        save(Path("numbered") / f"{case}_0000.nii.gz", label_map(masks))
        save(Path("nested") / case / "labels.nii", label_map(masks), names=NUMBERS)
    Path("dataset.json").write_text(json.dumps({"labels": {"background": 0, **NUMBERS}}))
    by_masks = evaluate(Path("ours"), Path("atlas"))
    assert [case.name for case in by_masks.cases] == list(cases)
    for case, seed in zip(by_masks.cases, cases.values(), strict=True):
        truth, predicted = masks_of(seed), masks_of(seed + 10)
        assert {row.name for row in case.classes} == set(NUMBERS)
        for row in case.classes:
            assert row.dice == dice(predicted[row.name], truth[row.name])
            assert row.truth_ml == pytest.approx(truth[row.name].sum() * 0.003)
    assert evaluate(Path("ours"), Path("folders")).summaries[0] in by_masks.summaries
    spleens = [s for s in evaluate(Path("ours"), Path("named")).to_dict()["cohort"] if s["name"] == "spleen"]
    for truth, names in (("numbered", "dataset.json"), ("numbered", "published"), ("nested", None)):
        data = json.loads(run("ours", truth, *(["--names", names] if names else []), "--json").stdout)
        assert [s for s in data["cohort"] if s["name"] == "spleen"] == spleens
    assert "has no names of labels" in run("ours/BDMAP_1_ct", "numbered/BDMAP_1_0000.nii.gz", code=2).stderr


def test_single_files_and_folders_need_no_common_name() -> None:
    save_masks(Path("a"), masks_of(1))
    save_masks(Path("b"), masks_of(2))
    save(Path("x/truth.nii.gz"), label_map(masks_of(2)), names=NUMBERS)
    (case,) = evaluate(Path("a"), Path("b")).cases
    assert len(case.classes) == 3
    (case,) = evaluate(Path("a/liver.nii.gz"), Path("b/liver.nii.gz")).cases
    assert [row.name for row in case.classes] == ["liver"]
    assert len(evaluate(Path("a"), Path("x/truth.nii.gz")).cases[0].classes) == 3


@pytest.mark.parametrize("classes", ["spleen,liver", "spleen;liver\n", "@classes.txt"])
def test_lists_of_classes(classes: str) -> None:
    for folder in ("pred", "true"):
        save_masks(Path(folder), masks_of(1))
    Path("classes.txt").write_text("spleen\r\nliver\r\n")
    rows = json.loads(run("pred", "true", "-c", classes, "--json").stdout)["cases"][0]["classes"]
    assert {row["name"] for row in rows} == {"spleen", "liver"}
    assert EvaluationOptions("spleen, liver").classes == ("spleen", "liver")  # type: ignore[arg-type]


def test_a_stored_result_is_a_case(small_weights: Path, scan_file: Path) -> None:
    """Masks of one run in a folder and in one file: the same, classes that overlap too."""
    for output in ("folder", "kept.umlite.nii.gz"):
        arguments = ["segment", str(scan_file), "--weights", str(small_weights), "-c", "liver,liver_tumor,colon"]
        assert CliRunner().invoke(app, [*arguments, "-o", output]).exit_code == 0
    Path("cohort").mkdir()
    Path("kept.umlite.nii.gz").rename("cohort/scan.umlite.nii.gz")
    Path("folder").rename("truth")
    Path("all").mkdir()
    Path("truth").rename("all/scan")
    for found in (evaluate(Path("cohort/scan.umlite.nii.gz"), Path("all/scan")), evaluate(Path("cohort"), Path("all"))):
        (case,) = found.cases
        assert case.name == "scan"
        assert [row.name for row in case.classes] == ["colon", "liver", "liver_tumor"]
        assert {row.dice for row in case.classes if row.truth_ml} == {1.0}


def test_what_is_shown_and_written() -> None:
    for seed in (1, 2, 3):
        save_masks(Path("pred") / f"case{seed}", masks_of(seed + 10))
        save_masks(Path("true") / f"case{seed}", masks_of(seed))
    shown = run("pred", "true", "-c", "liver,tumors", "-o", "out").output
    assert "3 cases, means with 95 % confidence intervals" in shown
    assert "false per scan" in shown
    cases = list(csv.DictReader(Path("out/cases.csv").read_text().splitlines()))
    assert [row["class"] for row in cases] == ["liver", "liver_tumor"] * 3
    assert (cases[0]["tolerance_mm"], cases[1]["tolerance_mm"]) == ("5", "2")
    cohort = list(csv.DictReader(Path("out/cohort.csv").read_text().splitlines()))
    mean = next(row for row in cohort if (row["class"], row["metric"]) == ("liver", "dice"))
    dices = [float(row["dice"]) for row in cases if row["class"] == "liver"]
    assert float(mean["value"]) == pytest.approx(np.mean(dices), abs=1e-6)
    assert float(mean["low"]) <= float(mean["value"]) <= float(mean["high"])
    assert json.loads(Path("out/evaluation.json").read_text())["bootstrap"] == {"resamples": 1000, "seed": 0}
    assert "exists already" in run("pred", "true", "-o", "out", code=2).stderr
    run("pred", "true", "--page", "pages/all.html")
    assert Path("pages/all.html").read_text().count("case2: ") == 6
    assert "exists already" in run("pred", "true", "--page", "pages/all.html", code=2).stderr
    assert "ends in .html" in run("pred", "true", "--page", "pages", code=2).stderr
    data = json.loads(run("pred", "true", "--tolerance", "1.5", "--json").stdout)
    assert {row["tolerance_mm"] for case in data["cases"] for row in case["classes"]} == {1.5}


def test_different_grids_are_refused() -> None:
    masks = masks_of(1)
    save_masks(Path("a"), masks)
    moved = AFFINE.copy()
    moved[0, 3] = 0.2
    save(Path("b/liver.nii.gz"), masks["liver"], moved)
    assert "different grids (0.2 mm apart)" in run("a", "b", code=2).stderr
    save(Path("b/liver.nii.gz"), masks["liver"][1:])
    message = run("a", "b", code=2).stderr
    assert "different grids (14 x 13 x 12 and 13 x 13 x 12)" in message
    save(Path("b/liver.nii.gz"), masks["liver"] * np.float32(0.5))
    assert "holds fractions" in run("a", "b", code=2).stderr


def test_a_bad_case_costs_no_other() -> None:
    for seed in (1, 2, 3):
        save_masks(Path("pred") / f"case{seed}", masks_of(seed + 10))
        save_masks(Path("true") / f"case{seed}", masks_of(seed))
    Path("true/case2/liver.nii.gz").write_bytes(b"no NIfTI")
    result = run("pred", "true", "--json", code=2)
    data = json.loads(result.stdout)
    assert [case["name"] for case in data["cases"]] == ["case1", "case3"]
    assert len(data["errors"]) == 1
    assert "case2: true/case2/liver.nii.gz" in result.stderr


def test_what_is_left_out_is_told() -> None:
    for seed in (1, 2):
        save_masks(Path("pred") / f"case{seed}", masks_of(seed + 10))
        save_masks(Path("true") / f"case{seed}", masks_of(seed))
    save_masks(Path("true/alone"), masks_of(5))
    Path("pred/case1/spleen.nii.gz").unlink()
    found = evaluate(Path("pred"), Path("true"))
    assert set(found.warnings) == {
        "alone is in true only: left out.",
        "There is no predicted mask of spleen in case1: left out.",
    }
    assert {s.name: s.cases for s in found.summaries} == {"spleen": 1, "liver": 2, "liver_tumor": 2}


def test_requests_that_cannot_be_served() -> None:
    save_masks(Path("p/a"), masks_of(1))
    save_masks(Path("t/b"), masks_of(1))
    save_masks(Path("t/b_ct"), masks_of(1))
    Path("bad.json").write_text('{"liver": "six"}')
    assert "does not exist" in run("nowhere", "t", code=2).stderr
    assert "holds no masks" in run("p", ".", code=2).stderr
    assert "are one case by name" in run("p", "t", code=2).stderr
    assert "no class in common that was asked for (colon)" in run("p/a", "t/b", "-c", "colon", code=2).stderr
    assert "tolerance from 0" in run("p/a", "t/b", "--tolerance", "-1", code=2).stderr
    assert "no names of labels" in run("p/a", "t/b", "--names", "bad.json", code=2).stderr
    save_masks(Path("u/b"), masks_of(1))
    with pytest.raises(RequestError, match="has the name of one of"):
        match_cases(Path("p"), Path("u"))


def test_two_masks_of_one_class_are_refused() -> None:
    masks = masks_of(1)
    save_masks(Path("a"), masks)
    save(Path("b/liver_tumor.nii.gz"), masks["liver_tumor"])
    save(Path("b/liver_lesion.nii.gz"), masks["liver_tumor"])
    assert "are both liver_tumor" in run("a", "b", code=2).stderr
    save(Path("labels.nii"), label_map(masks), names={"liver_lesion": 1, "liver_tumor": 27})
    assert "Labels 1 and 27 of labels.nii are both liver_tumor" in run("a", "labels.nii", code=2).stderr


def test_names() -> None:
    assert [case_key(n) for n in ("A_ct", "a_0000", "A_dseg", "A_ct_seg", "_ct")] == ["a", "a", "a", "a", "_ct"]
    assert read_names("published")[6] == "liver"
    assert len(read_names("published")) == len(PUBLISHED)
    Path("n.json").write_text('{"0": "background", "2": "Right Kidney", "3": "pancreatic_lesion", "4": "my own"}')
    assert read_names("n.json") == {2: "right_kidney", 3: "pancreas_tumor", 4: "my_own"}
    Path("deep.json").write_text("[" * 200_000)
    os.mkfifo("pipe.json")
    for name in ("deep.json", "pipe.json", "absent.json"):
        with pytest.raises(RequestError, match=f"Cannot read names from {name}"):
            read_names(name)


def test_a_cohort_of_one_is_no_single_case() -> None:
    save_masks(Path("p/a"), masks_of(1))
    assert find_cases(Path("p"))[1] is False
    assert find_cases(Path("p/a"))[1] is True


def test_no_torch_is_needed() -> None:
    script = "import sys, umlite.evaluation.evaluation, umlite.evaluation.files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2]).returncode == 0

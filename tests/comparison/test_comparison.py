"""One patient on two days: what moved, grew, merged, split, came and went, is told as such."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from support.patients import ORGANS, Visit, centroid_mm
from support.verdicts import MIRRORED
from umlite.cli import app
from umlite.comparison.comparison import Comparison, ComparisonOptions, compare
from umlite.errors import InputError, RequestError

BALLS = (
    ("liver_tumor", (0.0, 0.0, 0.0), 9.0),
    ("liver_tumor", (35.0, 10.0, 0.0), 14.0),
    ("liver_tumor", (-25.0, 5.0, 10.0), 7.0),
)
MOVED = Visit((), (4, -5, 8), (30, -20, 110), (4, 4, 5))
_numbers = itertools.count()


@pytest.fixture
def told(tmp_path: Path):
    """Compare two visits, and check that the comparison the other way round is its mirror image."""

    def compared(one: Visit, two: Visit) -> Comparison:
        number = next(_numbers)
        first, second = one.save(tmp_path / f"{number}a"), two.save(tmp_path / f"{number}b")
        found, back = compare(first, second), compare(second, first)
        assert sorted(MIRRORED[c.verdict] for c in found.changes) == sorted(c.verdict for c in back.changes)
        pairs = {(ids(c.ours), ids(c.theirs)) for c in found.changes}
        assert {(ids(c.theirs), ids(c.ours)) for c in back.changes} == pairs
        both = found.alignment.movement.matrix @ back.alignment.movement.matrix
        np.testing.assert_allclose(both, np.eye(4), atol=0.05)
        return found

    return compared


def ids(spots: tuple) -> tuple[str, ...]:
    return tuple(spot.id for spot in spots)


def verdicts(found: Comparison) -> list[str]:
    return sorted(change.verdict for change in found.changes)


def test_the_same_result_is_stable(tmp_path: Path) -> None:
    folder = Visit(BALLS).save(tmp_path / "a")
    found = compare(folder, folder)
    assert verdicts(found) == ["stable"] * 3
    for row in found.to_dict()["lesions"]:
        assert row["a"] == row["b"]
        assert row["volume_change_ml"] == row["diameter_change_percent"] == row["distance_mm"] == 0
    np.testing.assert_allclose(found.alignment.movement.matrix, np.eye(4), atol=1e-9)
    assert all(row["volume_change_percent"] == 0 for row in found.to_dict()["organs"])
    assert found.warnings == ()


@pytest.mark.parametrize(
    "visit",
    [
        Visit((), (0, 0, 0), (-150, 90, 400)),
        MOVED,
        Visit((), (10, -5, 25), (30, -20, 110), (4, 4, 5)),
        Visit((), (4, -5, 8), (30, -20, 110), (4, 4, 5), breath_mm=15),
        Visit((), (0, 0, 180), (30, -20, 110)),
    ],
    ids=["shifted", "turned", "turned far", "deep breath", "prone"],
)
def test_a_moved_body_changes_nothing(told, visit: Visit) -> None:
    found = told(Visit(BALLS), visit.with_balls(*BALLS))
    assert verdicts(found) == ["stable"] * 3
    for name in ORGANS:
        place = np.append(centroid_mm(name), 1)
        away = found.alignment.movement(place[:3]) - (visit.movement @ place)[:3]
        assert np.linalg.norm(away) < 1, name
    assert max(change.distance_mm or 0 for change in found.changes) < 2


def test_lesions_grow_shrink_come_and_go(told) -> None:
    later = (("liver_tumor", (0, 0, 0), 14), ("liver_tumor", (35, 10, 0), 9), ("liver_tumor", (-55, 0, -20), 7))
    found = told(Visit(BALLS), MOVED.with_balls(*later))
    assert verdicts(found) == ["gone", "growing", "new", "shrinking"]
    growing = next(change.to_dict() for change in found.changes if change.verdict == "growing")
    assert growing["volume_change_percent"] == pytest.approx(100 * ((14 / 9) ** 3 - 1), rel=0.15)
    assert growing["diameter_change_mm"] == pytest.approx(10, abs=4)
    new = next(change for change in found.changes if change.verdict == "new")
    place = (MOVED.movement @ [*np.add(centroid_mm("liver"), (-55, 0, -20)), 1])[:3]
    np.testing.assert_allclose(new.theirs[0].centroid_mm, place, atol=2)


def test_lesions_merge_and_split(told) -> None:
    apart = (("liver_tumor", (0, 0, 0), 10), ("liver_tumor", (30, 0, 0), 10), ("liver_tumor", (-40, 10, 0), 8))
    joined = (*apart, ("liver_tumor", (15, 0, 0), 10))
    found = told(Visit(apart), MOVED.with_balls(*joined))
    assert verdicts(found) == ["merged", "stable"]
    merged = next(change for change in found.changes if change.verdict == "merged")
    assert len(merged.ours) == 2
    assert merged.sizes[0].volume_ml == pytest.approx(sum(spot.volume_ml for spot in merged.ours))
    assert verdicts(told(Visit(joined), MOVED.with_balls(*apart))) == ["split", "stable"]


def test_small_neighbours_are_not_mixed_up(told) -> None:
    """Lesions of 12 mm in a row, whose surfaces are as near as the reach of a match, one of which goes."""
    near = [("liver_tumor", (18.0 * n, 0.0, 0.0), 6.0) for n in range(3)]
    found = told(Visit(tuple(near), spacing_mm=(3, 3, 3)), Visit(tuple(near[1:]), (4, -5, 8), (3, 2, 10), (3, 3, 3)))
    assert verdicts(found) == ["gone", "stable", "stable"]
    assert max(change.distance_mm or 0 for change in found.changes) < 2


def test_what_a_scan_does_not_show_is_not_gone(told) -> None:
    liver = centroid_mm("liver")[2]
    low = ("liver_tumor", (20.0, 0.0, -50.0), 9.0)
    later = Visit((BALLS[0], low), (2, 1, 3), (5, 5, 50), z_mm=(liver - 30, liver + 200))
    found = told(Visit((BALLS[0], low)), later)
    assert verdicts(found) == ["out_of_view_b", "stable"]
    one, two = found.burdens()["liver_tumor"]
    assert one.volume_ml == pytest.approx(two.volume_ml, rel=0.1)
    liver_row = next(row for row in found.to_dict()["organs"] if row["name"] == "liver")
    assert liver_row["b"]["complete"] is False


def test_a_cut_lesion_says_so(told) -> None:
    liver = centroid_mm("liver")[2]
    found = told(Visit(BALLS[:1]), Visit(BALLS[:1], z_mm=(liver, liver + 200)))
    assert [change.complete for change in found.changes] == [False]


def test_an_organ_without_a_mask_is_left_out(told) -> None:
    wrong = Visit(BALLS, without=("gallbladder",))
    found = told(wrong, MOVED.with_balls(*BALLS))
    assert verdicts(found) == ["stable"] * 3
    assert "no mask of gallbladder" in " ".join(found.warnings)


def test_organs_guide_also_where_only_lesions_are_asked_for(tmp_path: Path) -> None:
    one, two = Visit(BALLS).save(tmp_path / "a"), MOVED.with_balls(*BALLS).save(tmp_path / "b")
    found = compare(one, two, ComparisonOptions(("tumors",)))
    assert verdicts(found) == ["stable"] * 3
    assert found.organs == ()
    assert set(found.alignment.organs) == set(ORGANS)


@pytest.mark.parametrize("kept", [("liver",), ("left_kidney", "right_kidney"), ("spleen",)])
def test_few_organs_are_enough(told, kept: tuple[str, ...]) -> None:
    others = tuple(name for name in ORGANS if name not in kept)
    later = Visit(BALLS, (4, -5, 8), (30, -20, 110), (4, 4, 5), without=others)
    found = told(Visit(BALLS, without=others), later)
    assert verdicts(found) == ["stable"] * 3
    assert found.warnings == ()


def test_a_mistaken_organ_does_not_decide(tmp_path: Path) -> None:
    """The spleen of the second result lies 6 cm off."""
    one, two = Visit(BALLS).save(tmp_path / "a"), MOVED.with_balls(*BALLS).save(tmp_path / "b")
    masks, affine = MOVED.with_balls(*BALLS).masks()
    nib.save(nib.Nifti1Image(np.roll(masks["spleen"], 15, 0).astype(np.uint8), affine), two / "spleen.nii.gz")
    found = compare(one, two)
    assert verdicts(found) == ["stable"] * 3
    place = np.append(centroid_mm("liver"), 1)
    assert np.linalg.norm(found.alignment.movement(place[:3]) - (MOVED.movement @ place)[:3]) < 2


def test_without_organs_coordinates_count_and_a_warning_says_so(tmp_path: Path) -> None:
    folder = Visit(BALLS, without=ORGANS).save(tmp_path / "a")
    found = compare(folder, folder)
    assert verdicts(found) == ["stable"] * 3
    assert "No organ is in both results" in found.warnings[0]


def test_two_patients_are_doubted(tmp_path: Path) -> None:
    one = Visit(BALLS).save(tmp_path / "a")
    rng = np.random.default_rng(0)
    for name in ORGANS:
        mask = np.zeros((60, 60, 60), np.uint8)
        x, y, z = rng.integers(5, 40, 3)
        mask[x : x + 12, y : y + 12, z : z + 12] = 1
        (tmp_path / "b").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(mask, np.diag([5.0, 5, 5, 1])), tmp_path / "b" / f"{name}.nii.gz")
    assert "two patients" in " ".join(compare(one, tmp_path / "b").warnings)


def test_mean_hu_where_scans_are_given(tmp_path: Path) -> None:
    visit = Visit(BALLS[:1])
    masks, affine = visit.masks()
    folder = visit.save(tmp_path / "a")
    hu = np.where(masks["liver_tumor"], 40, np.where(masks["liver"], 110, -90)).astype(np.int16)
    nib.save(nib.Nifti1Image(hu, affine), tmp_path / "scan.nii.gz")
    found = compare(folder, folder, ComparisonOptions(scans=(tmp_path / "scan.nii.gz", None)))
    assert found.changes[0].ours[0].mean_hu == 40
    assert found.changes[0].theirs[0].mean_hu is None
    nib.save(nib.Nifti1Image(hu[1:], affine), tmp_path / "other.nii.gz")
    with pytest.raises(InputError, match="different grids"):
        compare(folder, folder, ComparisonOptions(scans=(tmp_path / "other.nii.gz", None)))


def test_one_result_each(tmp_path: Path) -> None:
    Visit(BALLS).save(tmp_path / "cohort" / "a")
    Visit(BALLS).save(tmp_path / "cohort" / "b")
    with pytest.raises(RequestError, match="holds 2 cases"):
        compare(tmp_path / "cohort", tmp_path / "cohort" / "a")
    with pytest.raises(RequestError, match="no class in common that was asked for"):
        compare(tmp_path / "cohort" / "a", tmp_path / "cohort" / "b", ComparisonOptions(("colon",)))


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, ["compare", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_what_is_shown_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Visit(BALLS).save(Path("a"))
    MOVED.with_balls(("liver_tumor", (0, 0, 0), 14)).save(Path("b<script>"))
    shown = run("a", "b<script>", "-o", "out").output
    assert "growing" in shown
    assert "aligned to A by 7 organs" in shown
    data = json.loads(Path("out/comparison.json").read_text())
    assert sorted(row["verdict"] for row in data["lesions"]) == ["gone", "gone", "growing"]
    assert data["thresholds"]["volume_factor"] == 1.73
    rows = list(csv.DictReader(Path("out/lesion_changes.csv").read_text().splitlines()))
    assert [row["verdict"] for row in rows] == [row["verdict"] for row in data["lesions"]]
    assert [float(row["volume_a_ml"]) for row in rows] == [row["volume_a_ml"] for row in data["lesions"]]
    organs = list(csv.DictReader(Path("out/organs.csv").read_text().splitlines()))
    assert {row["name"] for row in organs} == set(ORGANS)
    page = Path("out/comparison.html").read_text()
    assert "b<script>" not in page
    assert "b&lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert "exists already" in run("a", "b<script>", "-o", "out", code=2).stderr
    assert json.loads(run("a", "a", "--json", "-c", "liver").stdout)["lesions"] == []

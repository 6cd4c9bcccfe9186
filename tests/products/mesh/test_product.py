"""`umlite segment --mesh`: a surface per class, and no probabilities that nobody asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import trimesh

from support.command_line import run


@pytest.fixture(autouse=True)
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["stl", "glb"])
def test_a_surface_per_class(small_weights: Path, scan_file: Path, kind: str) -> None:
    run("segment", scan_file, "--weights", small_weights, "-c", "liver,colon", "--mesh", kind, "-o", "out")
    found = {path.name for path in Path("out").iterdir() if not path.name.endswith(".json")}
    assert found == {"liver.nii.gz", "colon.nii.gz", f"liver.{kind}", f"colon.{kind}"}
    mesh = trimesh.load(f"out/liver.{kind}", force="mesh")
    assert mesh.is_watertight
    assert mesh.volume > 0


def test_beside_a_label_map_with_names_of_another_tool(small_weights: Path, scan_file: Path) -> None:
    arguments = ("--weights", small_weights, "-c", "left_kidney", "--names", "totalsegmentator")
    run("segment", scan_file, *arguments, "--mesh", "stl", "-o", "labels.nii.gz")
    header = Path("labels_meshes/kidney_left.stl").read_bytes()[:80]
    assert b"kidney_left" in header


def test_what_cannot_be_made(small_weights: Path, scan_file: Path) -> None:
    arguments = (scan_file, "--weights", small_weights, "-c", "liver")
    message = run("segment", *arguments, "--mesh", "obj", "-o", "out", code=2).stderr
    assert "Unknown format of surfaces 'obj': expected stl or glb. (--mesh)" in message
    assert not Path("out").exists()
    run("segment", *arguments, "-o", "kept.umlite.nii.gz")
    assert "no logits" in run("export", "kept.umlite.nii.gz", "--mesh", "stl", "-o", "out", code=2).stderr


def test_existing_surfaces_are_kept(small_weights: Path, scan_file: Path) -> None:
    Path("out").mkdir()
    Path("out/liver.stl").write_text("mine")
    arguments = (scan_file, "--weights", small_weights, "-c", "liver", "--mesh", "stl", "-o", "out")
    assert "exist" in run("segment", *arguments, code=2).stderr
    assert Path("out/liver.stl").read_text() == "mine"

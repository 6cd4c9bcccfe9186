"""`python -m recipes.demo_weights`, the commands that docs/demo.md shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recipes.demo_weights import recipe
from recipes.demo_weights.__main__ import main, make_parser
from recipes.demo_weights.weights_file import load_network
from umlite import Segmenter

ROOT = Path(__file__).parents[2]


def test_train_and_export(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "build_validation", lambda *_: [])
    monkeypatch.setattr(recipe, "PHANTOM_SHARE", 0.0)
    monkeypatch.setattr(recipe, "LESSON_SHARE", 0.0)
    bundled, run, made = Segmenter("demo").weights_path, str(tmp_path / "run"), tmp_path / "made.safetensors"
    train = [
        "train",
        run,
        "--data",
        str(data),
        "--lessons",
        str(tmp_path),
        "--start",
        str(bundled),
        "--steps",
        "1",
        "--workers",
        "0",
    ]
    assert main(train) == 0
    assert main(["export", run, str(made)]) == 0
    before, after = (load_network(path).state_dict() for path in (bundled, made))
    assert any(not tensor.equal(after[name]) for name, tensor in before.items())
    assert all((tensor - after[name]).abs().max() < 0.02 for name, tensor in before.items())


def test_user_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), str(tmp_path / "made.safetensors")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "checkpoint.pt" in error
    assert error.count("\n") == 1


def test_commands_in_the_docs_are_accepted() -> None:
    page = (ROOT / "docs" / "demo.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^python -m recipes\.demo_weights (.*)$", page, flags=re.M)
    assert len(commands) >= 4
    for command in commands:
        make_parser().parse_args(command.split())

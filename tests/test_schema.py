"""What --json prints is what the schema says, for every verb."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import nibabel as nib
import pytest
from typer.testing import CliRunner

from support.command_line import run
from support.packs import saved_pack
from support.samples import make_scan
from umlite.cli import app, weights_app
from umlite.commands.info import SCHEMA
from umlite.terminal import JSON_SCHEMA

DATA = json.loads(SCHEMA.read_text())
EXAMPLES = {
    "segment": ["segment a.nii b.nii gone.nii -c liver,liver_tumor --statistics -o first"],
    "plan": ["plan a.nii", "segment a.nii --dry-run", "segment a.nii b.nii --dry-run -o x"],
    "verify": ["verify a.nii -c liver --sample 1"],
    "verify_unchanged": ["verify a.nii --unchanged --with heart.pack.safetensors --sample 2"],
    "reproduce": ["reproduce out/a/manifest.json"],
    "bench": ["bench a.nii -c liver --repeats 1"],
    "eval": ["eval out/a out/b"],
    "compare": ["compare out/a out/b"],
    "classes": ["classes", "classes --weights small.safetensors --with heart.pack.safetensors"],
    "info": ["info", "info --layers"],
    "weights_list": ["weights list"],
    "weights_show": ["weights show demo", "weights show heart.pack.safetensors"],
    "weights_change": ["weights drop small.safetensors liver -o less.safetensors"],
}
UNTRIED = {"series", "demo", "extend", "export", "weights_convert"}
"""Verbs that tests of their own run; they take longer, or need other files."""
NEED_WEIGHTS = ("segment", "plan", "verify", "bench", "info --layers")


def check(data: Any, verb: str) -> None:
    """Raise ValidationError unless this is what a verb prints."""
    jsonschema.validate(data, DATA | {"anyOf": [{"$ref": f"#/$defs/verb_{verb}"}]})


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, small_weights: Path) -> Path:
    """Two scans, weights and a pack."""
    folder = tmp_path_factory.mktemp("schema")
    for n, name in enumerate("ab"):
        nib.save(make_scan((24, 24, 24), seed=n), folder / f"{name}.nii")
    (folder / "small.safetensors").write_bytes(small_weights.read_bytes())
    saved_pack(folder, small_weights, ["heart"])
    masks = ["segment", folder / "a.nii", folder / "b.nii", "-c", "liver,liver_tumor", "-o", folder / "out"]
    run(*masks, "--statistics", "--weights", small_weights)
    return folder


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(DATA)
    assert DATA["properties"]["schema"]["const"] == JSON_SCHEMA
    named = {ref["$ref"].rsplit("/", 1)[1] for ref in DATA["anyOf"]}
    assert named - {"error"} == {name for name in DATA["$defs"] if name.startswith("verb_")}


def test_every_verb_has_a_schema() -> None:
    verbs = {c.name or c.callback.__name__.replace("list_classes", "classes") for c in app.registered_commands}
    verbs |= {f"weights_{c.name or c.callback.__name__.split('_')[0]}" for c in weights_app.registered_commands}
    same = {"weights_drop": "weights_change", "weights_rename": "weights_change", "weights_merge": "weights_change"}
    known = {name.removeprefix("verb_") for name in DATA["$defs"]}
    assert {same.get(verb, verb) for verb in verbs} - {"weights_pull", "watch"} <= known
    assert set(EXAMPLES) | UNTRIED >= known - {name for name in DATA["$defs"] if not name.startswith("verb_")}


@pytest.mark.parametrize("verb", EXAMPLES)
def test_output_is_as_the_schema_says(verb: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    for example in EXAMPLES[verb]:
        words = example.split()
        words += ["--weights", "small.safetensors"] if example.startswith(NEED_WEIGHTS) else []
        output = CliRunner().invoke(app, [*words, "--json"]).stdout
        data = json.loads(output)
        assert data["schema"] == JSON_SCHEMA
        check(data, verb)


def test_done_scans_and_errors(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    again = ["segment", "a.nii", "b.nii", "-c", "liver,liver_tumor", "--statistics", "-o", "out", "--json"]
    again += ["--weights", "small.safetensors"]
    data = json.loads(CliRunner().invoke(app, again).stdout)
    check(data, "segment")
    assert data["skipped"] == 2
    error = json.loads(CliRunner().invoke(app, ["plan", "a.nii", "--weights", "none", "--json"]).stdout)
    jsonschema.validate(error, DATA | {"anyOf": [{"$ref": "#/$defs/error"}]})
    with pytest.raises(jsonschema.ValidationError):
        check(error, "plan")


def test_the_schema_is_shown() -> None:
    assert json.loads(CliRunner().invoke(app, ["info", "--schema"]).stdout) == DATA

"""Pulling published weights from a hub on loopback into the store."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from support.hub import Hub, serve_hub, sha256
from support.samples import published_state, small_model
from umlite.checks.smoke_test import SmokeTest, WeightsFinding
from umlite.cli import app
from umlite.weights import installation
from umlite.weights.download import Source
from umlite.weights.loading import read_card


@pytest.fixture
def checkpoint() -> bytes:
    buffer = io.BytesIO()
    torch.save({"net": published_state(small_model()), "epoch": 61}, buffer)
    return buffer.getvalue()


@pytest.fixture
def hub(checkpoint: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub(checkpoint)
    server = serve_hub(hub)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("UMLITE_WEIGHTS", str(tmp_path / "store"))
    source = Source("unet", "lab/model", "universal.pth", "CC BY-NC-ND 4.0", "14 datasets")
    monkeypatch.setattr(installation, "SOURCES", {"unet": source})
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were tried on the synthetic patient, which takes too long for these tests; each looks suspicious."""
    files: list[Path] = []

    def suspicious(path: Path, **_: object) -> SmokeTest:
        files.append(path)
        return SmokeTest({"liver": 0.9, "spleen": 0.1}, (WeightsFinding("found", "1 of 2 organs was found."),))

    monkeypatch.setattr("umlite.checks.smoke_test.smoke_test", suspicious)
    return files


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_pull_installs(hub: Hub, checkpoint: bytes, tmp_path: Path) -> None:
    result = run("weights", "pull", "unet", "--accept-license", "--json")
    assert result.exit_code == 0, result.output
    assert "CC BY-NC-ND 4.0" in result.stderr
    source = json.loads(result.stdout)["source"]
    assert source == {"file": "universal.pth", "sha256": sha256(checkpoint), "url": source["url"]}
    assert source["url"].startswith(hub.endpoint)
    card = read_card(tmp_path / "store" / "unet.safetensors")
    assert card.license == "CC BY-NC-ND 4.0"
    assert "CC BY-NC-ND 4.0" in run("weights", "list").stdout
    assert [p.name for p in (tmp_path / "store").rglob("*")] == ["unet.safetensors"]
    assert card.training == "14 datasets"
    assert run("classes", "--weights", "unet").exit_code == 0


def test_an_installed_file_is_kept(hub: Hub) -> None:
    assert run("weights", "pull", "unet", "--accept-license").exit_code == 0
    asked = len(hub.requests)
    result = run("weights", "pull", "unet", "--accept-license")
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert len(hub.requests) == asked
    assert run("weights", "pull", "unet", "--accept-license", "--overwrite").exit_code == 0


def test_an_interrupted_pull_goes_on_where_it_stopped(hub: Hub, checkpoint: bytes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("umlite.weights.download.RESUMES", 0)
    hub.cut_at = [len(checkpoint) // 2]
    result = run("weights", "pull", "unet", "--accept-license")
    assert result.exit_code == 2
    assert "umlite weights convert" in result.stderr
    assert run("weights", "pull", "unet", "--accept-license").exit_code == 0
    assert int(hub.contents[-1].range[6:-1]) > len(checkpoint) // 3
    assert (tmp_path / "store" / "unet.safetensors").exists()


def test_a_wrong_checksum_installs_nothing(hub: Hub, tmp_path: Path) -> None:
    hub.published = "0" * 64
    result = run("weights", "pull", "unet", "--accept-license")
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert not list((tmp_path / "store").glob("*.safetensors"))


def test_a_hub_without_checksums_is_told(hub: Hub) -> None:
    hub.published = None
    result = run("weights", "pull", "unet", "--accept-license")
    assert result.exit_code == 0
    assert "no checksum" in result.stderr


def test_offline_says_what_to_do(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = run("weights", "pull", "unet", "--accept-license")
    assert result.exit_code == 2
    assert "umlite weights convert" in result.stderr
    assert not hub.requests


@pytest.mark.usefixtures("hub")
def test_suspicious_weights_are_installed_with_a_warning(tmp_path: Path, tried: list[Path]) -> None:
    path = tmp_path / "store" / "unet.safetensors"
    result = run("weights", "pull", "unet", "--accept-license")
    assert result.exit_code == 0
    assert tried == [path]
    assert "Warning: 1 of 2 organs was found." in result.stderr
    assert "may answer nonsense" in result.stderr
    data = json.loads(run("weights", "pull", "unet", "--accept-license", "--overwrite", "--json").stdout)
    assert data["check"]["done"]
    assert data["check"]["found"] == ["liver"]
    assert data["check"]["findings"] == [{"code": "found", "sentence": "1 of 2 organs was found."}]
    tried.clear()
    result = run("weights", "pull", "unet", "--accept-license", "--overwrite", "--no-check")
    assert "Warning" not in result.stderr
    assert not tried


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (SmokeTest({"liver": 0.9, "aorta": 0.8}), "2 of 2 large organs of a synthetic patient found"),
        (SmokeTest({}, skipped="its voxels are odd"), "Not tried: its voxels are odd."),
    ],
)
def test_converted_weights_are_tried(
    checkpoint: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: SmokeTest, said: str
) -> None:
    monkeypatch.setattr("umlite.checks.smoke_test.smoke_test", lambda *_, **__: outcome)
    (tmp_path / "net.pth").write_bytes(checkpoint)
    output = tmp_path / "net.safetensors"
    result = run("weights", "convert", str(tmp_path / "net.pth"), "-o", str(output), "--trained-on", "two scans")
    assert result.exit_code == 0, result.output
    assert said in result.stdout
    assert "Warning" not in result.stderr
    data = json.loads(
        run(
            "weights", "convert", str(tmp_path / "net.pth"), "-o", str(output), "--overwrite", "--no-check", "--json"
        ).stdout
    )
    assert data["check"] is None
    assert read_card(output).training == ""


def test_show_says_what_weights_are(checkpoint: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(checkpoint)
    output = tmp_path / "net.safetensors"
    run("weights", "convert", str(tmp_path / "net.pth"), "-o", str(output), "--trained-on", "two scans")
    data = json.loads(run("weights", "show", str(output), "--json").stdout)
    assert data["sha256"] == sha256(output.read_bytes())
    assert data["parameters"] == sum(t.numel() for t in small_model().state_dict().values())
    assert (data["backbone"], data["generator"], len(data["classes"])) == ("unet", "shared", 32)
    assert (data["spacing_mm"], data["window"]) == ([1.5, 1.5, 1.5], [96, 96, 96])
    assert data["source"] == {"file": "net.pth", "sha256": sha256(checkpoint), "url": ""}
    text = run("weights", "show", str(output)).stdout
    for said in (
        "two scans",
        "96 x 96 x 96 voxels",
        "1.5 x 1.5 x 1.5 mm",
        data["sha256"],
        "right_kidney",
        "-175 to 250",
    ):
        assert said in text
    assert "notice" in run("weights", "show", "demo").stdout
    assert run("weights", "show", str(tmp_path / "absent.safetensors")).exit_code == 2


@pytest.mark.slow
def test_random_weights_of_the_published_card_are_suspicious(checkpoint: bytes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.undo()
    (tmp_path / "net.pth").write_bytes(checkpoint)
    result = run("weights", "convert", str(tmp_path / "net.pth"), "-o", str(tmp_path / "net.safetensors"))
    assert result.exit_code == 0
    assert "may answer nonsense" in result.stderr

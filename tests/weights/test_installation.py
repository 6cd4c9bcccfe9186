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
    source = Source("unet", "lab/model", "universal.pth", "CC BY-NC-ND 4.0")
    monkeypatch.setattr(installation, "SOURCES", {"unet": source})
    yield hub
    server.shutdown()
    server.server_close()


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

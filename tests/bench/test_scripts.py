"""Every benchmark runs from end to end on narrow networks, and its last line is JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def report(script: str, *arguments: object) -> dict:
    command = [sys.executable, "-m", f"bench.{script}", *map(str, arguments), "--quick", "--threads", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_forward() -> None:
    data = report("forward", "--backbone", "unet", "--classes", "1,32", "--no-memory", "--peers")
    (network,) = data["networks"]
    assert [row["classes"] for row in network["ours"]] == [1, 32]
    assert network["worst_error"] < 1e-3
    assert all(taken["median"] > 0 for taken in network["peers"].values())  # those that are installed
    layers = {row["step"]: row for row in network["layers"]}
    if network["kernels"] == "native":
        assert {"down_tr64.1", "up_tr64.0.up", "heads"} <= layers.keys()
        assert sum(row["share"] for row in layers.values()) == pytest.approx(1, abs=0.02)
    assert data["machine"]["threads"] == 1


@pytest.mark.compiler
def test_threads() -> None:
    sides = report("threads", "--backbone", "unet", "--rounds", 1)["unet, 1 threads"]
    assert sides["OpenMP"]["ratio"] == 1
    assert sides["OpenMP"]["logits"] == sides["own threads"]["logits"]


@pytest.mark.kernels
def test_exactness() -> None:
    data = report("exactness", "--backbone", "unet")
    assert {row["name"] for row in data["algorithms"]} >= {"F(4,3)", "F(4,2)", "direct 3^3", "1^3"}
    assert all(0 < row["error"] < 2e-6 for row in data["algorithms"])
    assert 0 < data["networks"][0]["umlite"]["worst"] < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["swin_unetr", "segresnet"])
def test_forward_of_other_networks(backbone: str) -> None:
    (network,) = report("forward", "--backbone", backbone)["networks"]
    assert network["ours"][0]["ratio"]["median"] > 0
    assert network["memory"]["ours"]["peak_gb"] > 0


def test_scan(scan_file: Path) -> None:
    data = report("scan", scan_file, "--backbone", "unet", "--windows", 1, "--files", 1)
    assert set(data["requests"]) == {"all", "liver,pancreas_tumor"}
    assert data["requests"]["all"]["ratio"] > 0


@pytest.mark.slow
def test_extension_forms() -> None:
    (row,) = report("extension_forms")["rows"]
    assert row["own_controller"] > row["nearest_head"]


@pytest.mark.slow
def test_extension() -> None:
    (row,) = report("extension")["rows"]
    assert row["unchanged"]["passed"]
    assert row["pack"]["mean"] > row["probe"]["mean"] - 0.1
    assert row["anew_steps"] >= 1


@pytest.mark.slow
def test_extension_full() -> None:
    (row,) = report("extension_full", "--backbone", "unet")["rows"]
    assert row["unchanged"]["passed"]
    assert row["disk_mb"] < 0.4 * row["windows"]


@pytest.mark.slow
def test_packs() -> None:
    rows = report("packs")["rows"]
    assert [row["added"] for row in rows] == [0, 1, 10, 200]
    assert rows[-1]["peak_gb"] > rows[0]["peak_gb"]


def test_long_scan() -> None:
    data = report("long_scan")
    assert [row["slices"] for row in data["scans"]] == [16, 32]
    assert all(0.05 < row["peak_gb"] < 5 for row in data["scans"])
    assert "growth_gb_per_800" in data


def test_table(scan_file: Path) -> None:
    script = [sys.executable, "-m", "bench.scan", str(scan_file), "--backbone", "unet", "--no-reference"]
    made = subprocess.run([*script, "--quick", "--threads", "1"], cwd=ROOT, capture_output=True, text=True, check=True)
    table = [sys.executable, "-m", "bench.table"]
    shown = subprocess.run(table, cwd=ROOT, input=made.stdout, capture_output=True, text=True, check=True).stdout
    assert "| all |" in shown
    assert shown.startswith("| request |")


@pytest.mark.slow
def test_sharing() -> None:
    data = report("sharing")
    assert data["threads"]["scans"] == 8
    assert data["threads"]["different"] == 0
    assert data["processes"] == {**data["processes"], "different": 0, "missing": 0}


def test_interrupts() -> None:
    data = report("interrupts")
    for kind in ("kills_new", "kills_replacing", "interruptions_new", "interruptions_replacing"):
        found = data[kind]
        assert found["moments"] > 5
        assert found["old_or_new"] + found["marked"] == found["moments"]
        assert (found["untold"], found["wrong"], found["left"]) == (0, 0, 0)

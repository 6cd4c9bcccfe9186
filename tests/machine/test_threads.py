"""How many threads a process gets: the environment, its cores, the limits of its control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from umlite.engines.options import EngineOptions
from umlite.engines.setup import choose_setup
from umlite.machine import control_groups
from umlite.machine.threads import available_threads


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process with 64 cores and nothing asked for, and the folder where its control groups are looked for."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(control_groups, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "MOUNT", tmp_path / "mount")
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text + "\n")


def test_the_environment_decides_first(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (groups / "cgroup").write_text("0::/\n")
    write(groups / "mount", cpu_max="200000 100000")
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert available_threads() == (3, "OMP_NUM_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert available_threads()[0] == 2
    assert choose_setup(EngineOptions("cpu", "reference", threads=5)).threads == 5


@pytest.mark.usefixtures("groups")
def test_without_groups_all_cores() -> None:
    assert available_threads() == (64, "the cores of this process")


@pytest.mark.parametrize(("limit", "expected"), [("max 100000", 64), ("150000 100000", 2), ("10000 100000", 1)])
def test_version_2(groups: Path, limit: str, expected: int) -> None:
    (groups / "cgroup").write_text("0::/\n")
    write(groups / "mount", cpu_max=limit)
    assert available_threads()[0] == expected


def test_a_group_around_this_one_may_have_the_limit(groups: Path) -> None:
    (groups / "cgroup").write_text("0::/jobs/seven/step\n")
    write(groups / "mount/jobs", cpu_max="1600000 100000")
    write(groups / "mount/jobs/seven", cpu_max="400000 100000")
    write(groups / "mount/jobs/seven/step", cpu_max="max 100000")
    assert available_threads() == (4, "the control group's limit")


@pytest.mark.parametrize(("quota", "expected"), [("-1", 64), ("300000", 3)])
def test_version_1(groups: Path, quota: str, expected: int) -> None:
    """In a container the group's name is that outside, and its folder is the mount itself."""
    (groups / "cgroup").write_text("3:cpuset:/box/12\n2:cpu,cpuacct:/box/12\n1:name=systemd:/box/12\n")
    write(groups / "mount/cpu", cpu_cfs_quota_us=quota, cpu_cfs_period_us="100000")
    write(groups / "mount/cpuset", cpu_cfs_quota_us="100000", cpu_cfs_period_us="100000")
    assert available_threads()[0] == expected

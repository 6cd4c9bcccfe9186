"""A peak is seen, and forgotten where the system allows; every limit of memory counts."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from umlite.errors import DeviceError
from umlite.machine import control_groups, memory
from umlite.machine.memory import as_refusal, check_memory, free_bytes

CPU = torch.device("cpu")
PROGRAM = """
import numpy as np
from umlite.machine.memory import peak_bytes, resident_bytes, start_peak

LARGE = 200_000_000
resets = start_peak()
before = peak_bytes()
array = np.ones(LARGE, np.uint8)
assert resident_bytes() >= LARGE
del array
assert peak_bytes() >= before + 0.9 * LARGE or not resets
if start_peak():
    assert peak_bytes() < before + 0.5 * LARGE
print("done")
"""


def test_peak_of_a_large_array() -> None:
    """In a process of its own: the allocator of one that has run long may keep what is freed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 64 GB available, and the folder where control groups are looked for."""
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal: 99000000 kB\nMemAvailable: 62500000 kB\nHugePages_Total: 0\n")
    monkeypatch.setattr(control_groups, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "MOUNT", tmp_path / "mount")
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text + "\n")


def test_without_groups_what_the_machine_has_left(groups: Path) -> None:
    assert free_bytes(CPU) == 64_000_000_000
    (groups / "cgroup").write_text("0::/\n")
    write(groups / "mount", memory_max="max", memory_current="5")
    assert free_bytes(CPU) == 64_000_000_000


def test_a_memory_limit_of_a_group_around_this_one_counts(groups: Path) -> None:
    """A job's limit stands at the job; its step, where the process is, has none of its own."""
    (groups / "cgroup").write_text("0::/slurm/job_7/step_0\n")
    write(groups / "mount/slurm", memory_max=str(32 * 10**9), memory_current=str(30 * 10**9))
    write(groups / "mount/slurm/job_7", memory_max=str(8 * 10**9), memory_current=str(7 * 10**9))
    write(groups / "mount/slurm/job_7/step_0", memory_max="max", memory_current=str(6 * 10**9))
    assert free_bytes(CPU) == 10**9
    write(groups / "mount/slurm/job_7", memory_stat=f"anon 1\ninactive_file {2 * 10**9}\nactive_file 7")
    assert free_bytes(CPU) == 2 * 10**9  # then the group around it is the tightest
    with pytest.raises(DeviceError, match="Blending needs 3"):
        check_memory(3 * 10**9, CPU, "Blending")


@pytest.mark.parametrize(("limit", "expected"), [(9223372036854771712, 64 * 10**9), (4 * 10**9, 3 * 10**9)])
def test_memory_limits_of_version_1(groups: Path, limit: int, expected: int) -> None:
    (groups / "cgroup").write_text("5:memory:/lsf/9\n2:cpu,cpuacct:/lsf/9\n")
    write(groups / "mount/memory/lsf/9", memory_limit_in_bytes=str(limit), memory_usage_in_bytes=str(10**9))
    assert free_bytes(CPU) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="address spaces are limited so on Linux")
def test_a_limit_of_the_address_space_counts() -> None:
    code = (
        "import resource, torch; from umlite.machine.memory import free_bytes;"
        "resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30));"
        "free = free_bytes(torch.device('cpu')); assert 0 < free < 6 << 30, free"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left"), False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("shapes do not fit"), False),
    ],
)
def test_which_errors_say_that_memory_was_refused(error: Exception, is_one: bool) -> None:
    assert memory.is_refusal(error) == is_one


def test_torch_s_own_refusal_is_one() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert memory.is_refusal(caught.value)


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "(libtorch_cpu.so: failed"),
        (ImportError("\n\nIMPORTANT: read this\n\nOriginal error was: x.so: cannot allocate memory\n"), "x.so"),
        (MemoryError(), "Too little memory."),
    ],
)
def test_refused_memory_in_other_words(error: Exception, part: str) -> None:
    found = as_refusal(error)
    assert isinstance(found, DeviceError)
    assert part in str(found)
    assert "\n" not in str(found)


def test_other_errors_are_no_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (ImportError("No module named 'x'"), ZeroDivisionError(), OSError(28, "full")):
        assert as_refusal(error) is None
    monkeypatch.setattr(memory, "_address_space_left", lambda: 1 << 20)
    assert as_refusal(ImportError("cannot import name 'x'")) is not None

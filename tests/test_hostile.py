"""Every command where the machine is against it: it works, or ends with one sentence and exit code 2.

`pytest -m slow tests/test_hostile.py` runs every command under every setting; `python tests/test_hostile.py` shows the
table. The default run has a sample.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from support import hostile
from support.samples import make_scan, published_state, small_card, small_model
from umlite.weights.loading import save_model

ROOT = Path(__file__).parents[1]
RUN = """
import sys
if sys.argv[1] == "plan":
    try:
        from umlite.cost import measuring
        measuring.SECONDS, measuring.SIDE = 0.0, 40
    except BaseException:
        pass  # the command will meet the same
from umlite.__main__ import main
sys.argv[:1] = ["umlite"]
main()
"""
BASE = ["--weights", "small.safetensors", "-c", "liver", "--threads", "1"]
VERBS = {
    "segment": ["segment", "scan.nii.gz", "scan2.nii.gz", "-o", "out", *BASE],
    "segment --workers": ["segment", "scan.nii.gz", "scan2.nii.gz", "-o", "out", "--workers", "2", *BASE],
    "watch": ["watch", "inbox", "-o", "out", "--once", "--still", "0", "--every", "0.1", "--attempts", "1", *BASE],
    "segment --probabilities": ["segment", "scan.nii.gz", "-o", "out", "--probabilities", "--statistics", *BASE],
    "segment with all files": ["segment", "scan.nii.gz", "-o", "out", "--statistics", "--mesh", "glb", "--preview",
                               "out/preview.png", "--report", "out/report.html", *BASE],
    "segment -o NAME.umlite": ["segment", "scan.nii.gz", "-o", "out/scan.umlite.nii.gz", *BASE],
    "plan": ["plan", "scan.nii.gz", *BASE],
    "info": ["info"],
    "weights list": ["weights", "list"],
    "weights convert": ["weights", "convert", "small.pth", "-o", "out/converted.safetensors", "--no-check"],
    "classes": ["classes", "--json"],
    "demo": ["demo", "scan.nii.gz", "-o", "out/demo", "--weights", "small.safetensors"],
    "bench": ["bench", "scan.nii.gz", "--repeats", "1", *BASE],
    "verify": ["verify", "scan.nii.gz", "--sample", "1", *BASE],
    "eval": ["eval", "truth", "truth", "-o", "out/eval"],
    "compare": ["compare", "truth", "truth", "-o", "out/comparison"],
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """What is done before a command. The folder it works in is $W, the one for results $W/out."""

    prelude: str = "true"
    user: int | None = None
    network: bool = True
    environment: dict[str, str | None] = field(default_factory=dict)


NOWHERE = """
mount -t tmpfs none /mnt; mkdir /mnt/0 /mnt/1 /mnt/2
seen=("$W" "$PYTHONPATH" "$PREFIX")
for i in 0 1 2; do mount --bind "${seen[i]}" /mnt/$i; done
mount -t tmpfs none /tmp
for i in 0 1 2; do
  case "${seen[i]}" in "$W"|/tmp/*) mkdir -p "${seen[i]}"; mount --move /mnt/$i "${seen[i]}";; *) umount /mnt/$i;; esac
done; umount /mnt
mount --bind "$W/out" "$W/out"; mount -o remount,bind,ro "$W"; mount -o remount,ro /tmp; cd "$W"
for folder in /var/tmp /dev/shm; do mount -t tmpfs -o ro none $folder; done
"""
"""Only $W/out can be written, of all that a program may think of. Checkout and environment may lie in /tmp."""

SETTINGS = {
    "no HOME": Setting(user=12345, environment={"HOME": None, "USER": None, "LOGNAME": None}),
    "a HOME that is not there": Setting(user=hostile.NOBODY, environment={"HOME": "/nonexistent"}),
    "a HOME of root's": Setting('mkdir -p /mnt/home; mount -t tmpfs -o mode=755 none "$W/home"', hostile.NOBODY,
                                environment={"HOME": "home"}),
    "a read-only HOME": Setting('mount -t tmpfs -o ro none "$W/home"'),
    "a read-only system": Setting(f'{NOWHERE} mount -o remount,bind,ro "$W/out"'),
    "a read-only output": Setting('mount --bind "$W/out" "$W/out"; mount -o remount,bind,ro "$W/out"'),
    "an output of another user's": Setting('chmod 755 "$W/out"; chown 0 "$W/out"', hostile.NOBODY),
    "no temporary folder": Setting(NOWHERE),
    "a full temporary folder": Setting("mount -t tmpfs -o size=4k none /mnt; head -c 4096 /dev/zero > /mnt/full",
                                       environment={"TMPDIR": "/mnt"}),
    "a full output": Setting('mount -t tmpfs -o size=4k none "$W/out"; head -c 4096 /dev/zero > "$W/out/full"'),
    "room for one result": Setting('mount -t tmpfs -o size=24k none "$W/out"'),
    "no more inodes": Setting('mount -t tmpfs -o nr_inodes=2 none "$W/out"; touch "$W/out/x"'),
    "30 open files": Setting("ulimit -n 30"),
    "files of 1 kB at most": Setting("ulimit -f 2"),
    "address space of 1.2 GB": Setting("ulimit -v 1200000"),
    "address space of 0.5 GB": Setting("ulimit -v 500000"),
    "no more processes": Setting("ulimit -u 1", hostile.NOBODY),
    "a stack of 1 MB": Setting("ulimit -s 1024"),
    "address space of 0.9 GB": Setting("ulimit -v 900000"),
    "no /proc": Setting("mount -t tmpfs none /proc"),
    "no /dev/shm": Setting("mount -t tmpfs -o ro,mode=000 none /dev/shm"),
    "64 MB of /dev/shm": Setting("mount -t tmpfs -o size=64m none /dev/shm"),
    "no network": Setting(network=False),
    "a full disk under the log": Setting("exec 2>/dev/full"),
    "a closed stderr": Setting("exec 2>&-"),
    "a closed stdin": Setting("exec 0<&-"),
    "a closed stdout": Setting("exec 1>&-"),
    "all streams closed": Setting("exec 0<&- 1>&- 2>&-"),
    "no programs": Setting("export PATH=/nonexistent", environment={"CC": None}),
    "a cache nobody may run": Setting("mount -t tmpfs -o noexec none /mnt", environment={"UMLITE_CACHE": "/mnt"}),
    "a cache that is a file": Setting(environment={"UMLITE_CACHE": "/etc/hostname"}),
    "signals ignored": Setting("trap '' HUP TERM INT"),
    "a plain locale": Setting(environment={"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}),
}  # fmt: skip


def prepared(folder: Path) -> None:
    """A folder that anyone may work in, with weights and scans."""
    for name in ("scan.nii.gz", "scan2.nii.gz"):
        nib.save(make_scan((20, 18, 16)), folder / name)
    model = small_model()
    save_model(folder / "small.safetensors", model.state_dict(), small_card(model))
    torch.save({"net": published_state(model)}, folder / "small.pth")
    for name in ("out", "home", "tmp", "truth", "inbox"):
        (folder / name).mkdir()
    for name in ("scan.nii.gz", "scan2.nii.gz"):
        shutil.copy(folder / name, folder / "inbox")
    mask = np.zeros((20, 18, 16), np.uint8)
    mask[5:15, 5:12, 4:12] = 1
    nib.save(nib.Nifti1Image(mask, np.diag([4.0, 4, 4, 1])), folder / "truth" / "liver.nii.gz")
    for path in (folder, *folder.parents[:2], *folder.iterdir()):
        path.chmod(path.stat().st_mode | 0o777)


def outcome(folder: Path, setting: Setting, verb: list[str]) -> tuple[int, str]:
    """Exit code, and all that was said."""
    changes = {"HOME": str(folder / "home"), "CC": "false", "OMP_NUM_THREADS": "1", "W": str(folder),
               "PYTHONPATH": str(ROOT), "PREFIX": sys.prefix, "TMPDIR": str(folder / "tmp"),
               **setting.environment}  # fmt: skip
    if changes["HOME"] == "home":
        changes["HOME"] = str(folder / "home")
    environment = {**os.environ, **{name: value for name, value in changes.items() if value is not None}}
    for name in [name for name, value in changes.items() if value is None]:
        environment.pop(name, None)
    done = hostile.run(
        ["-c", RUN, *verb],
        prelude=setting.prelude,
        user=setting.user,
        network=setting.network,
        environment=environment,
        cwd=folder,
    )
    return done.returncode, done.stdout + done.stderr


def faults(code: int, said: str) -> list[str]:
    """What is wrong about how a command ended."""
    some_failed = code == 1 and " failed" in said
    wrong = [] if code in (0, 2) or some_failed else [f"exit {code}"]
    if "Traceback" in said:
        wrong.append("a traceback")
    return wrong


SAMPLE = [
    ("no HOME", "segment"),
    ("no temporary folder", "plan"),
    ("30 open files", "segment --probabilities"),
    ("address space of 0.5 GB", "info"),
    ("a full output", "segment --probabilities"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prepared(tmp_path)
    return tmp_path


@pytest.mark.skipif(bool(hostile.why_not()), reason=hostile.why_not())
@pytest.mark.parametrize(("setting", "verb"), SAMPLE)
def test_a_sample(folder: Path, setting: str, verb: str) -> None:
    code, said = outcome(folder, SETTINGS[setting], VERBS[verb])
    assert not faults(code, said), said


@pytest.mark.slow
@pytest.mark.skipif(bool(hostile.why_not()), reason=hostile.why_not())
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_command_under_every_setting(folder: Path, setting: str, verb: str) -> None:
    code, said = outcome(folder, SETTINGS[setting], VERBS[verb])
    assert not faults(code, said), said


def show(only: list[str]) -> None:
    """Print the table as Markdown, and what is wrong under it; of some settings or commands where these are named."""
    notes = []
    verbs = {verb: arguments for verb, arguments in VERBS.items() if verb in only} or VERBS
    settings = {name: setting for name, setting in SETTINGS.items() if name in only} or SETTINGS
    print("| setting | " + " | ".join(verbs) + " |\n|" + "---|" * (len(verbs) + 1), flush=True)
    for name, setting in settings.items():
        cells = []
        for verb, arguments in verbs.items():
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
                folder = Path(made) / "a" / "b"
                folder.mkdir(parents=True)
                prepared(folder)
                code, said = outcome(folder, setting, arguments)
            wrong = faults(code, said)
            cells.append(f"{code}{' !' if wrong else ''}")
            last = said.strip().splitlines()[-1:] or [""]
            if wrong or code:
                notes.append(f"{'WRONG ' if wrong else ''}{name}: {verb}: {code}: {last[0][:230]}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print("\n".join(notes))


if __name__ == "__main__":
    show(sys.argv[1:])

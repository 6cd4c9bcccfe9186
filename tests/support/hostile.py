"""Programs run as another user, or with mounts of their own that end with them. Linux, as root."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

NOBODY = 65534
NOT_SET_UP = 99
"""The exit code where the prelude failed, and Python never ran."""


@cache
def why_not() -> str:
    """What is missing to make mounts here; empty where nothing is."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root makes mounts"
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        return "needs unshare and setpriv"
    done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "mounts are refused here"


def run(
    arguments: Sequence[object],
    *,
    prelude: str = "true",
    user: int | None = None,
    network: bool = True,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments after the shell commands `prelude`, which may mount what they like."""
    command = shlex.join([sys.executable, *map(str, arguments)])
    steps = [prelude, f"exec {command}"]
    if user is not None:
        drop = f"setpriv --reuid {user} --regid {user} --clear-groups --inh-caps=-all --bounding-set=-all"
        steps = [*_open_interpreter(), prelude, f"exec {drop} {command}"]
    return subprocess.run(
        ["unshare", "-m" if network else "-mn", "bash", "-ec", "\n".join([f"trap 'exit {NOT_SET_UP}' ERR", *steps])],
        capture_output=True, text=True, errors="replace", check=False, env=environment, cwd=cwd,
    )  # fmt: skip


def _open_interpreter() -> list[str]:
    """Where Python lies in a folder that only root may enter: show it, and nothing else of that folder."""
    base = Path(sys.base_prefix).resolve()
    closed = next((folder for folder in reversed(base.parents) if not folder.stat().st_mode & 0o001), None)
    if closed is None:
        return []
    return [
        "shown=$(mktemp -d)", f'mount --bind {shlex.quote(str(base))} "$shown"',
        f"mount -t tmpfs -o mode=755 none {shlex.quote(str(closed))}", f"mkdir -p {shlex.quote(str(base))}",
        f'mount --move "$shown" {shlex.quote(str(base))}',
    ]  # fmt: skip

"""Batches measured: `python -m bench.batch --weights small.safetensors resume flat`.

Parts: resume (200 scans, 20 of them bad, twice), flat (memory, files and threads over 500 scans), together (two
batches in one folder at once), prediction (a dry run of 1000 scans against the run). With real weights and scans:
overlap (one run of several scans against as many runs, with and without start-up), workers (one process against two).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib

from bench.batch_trial import make_scans, tree, umlite
from bench.prediction import ABDOMEN, phantom, stretched

JOBS = 1000


def main() -> None:
    """Print one JSON object per part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=sorted(PARTS))
    parser.add_argument("--weights", required=True)
    parser.add_argument("--scans", type=Path, help="folder of real scans, for overlap, workers and prediction")
    parser.add_argument("--classes", default="liver,spleen")
    parser.add_argument("--overlap", default="0")
    options = parser.parse_args()
    for part in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            base = ["-c", options.classes, "--overlap", options.overlap, "--weights", options.weights, "--no-checks"]
            found = PARTS[part](Path(folder), base, options.scans)
            print(json.dumps({"part": part, **found}), flush=True)


def resume(folder: Path, base: list[str], _scans: Path | None) -> dict[str, Any]:
    """200 small scans, 20 of them bad, and the same again."""
    make_scans(folder / "scans", 200)
    spoil(sorted((folder / "scans").iterdir())[::10])
    arguments = ["segment", str(folder / "scans"), "-o", str(folder / "out"), *base]
    first, second = (timed([*arguments, "--jsonl", str(folder / f"{n}.jsonl")]) for n in (1, 2))
    codes = [json.loads(line)["status"] for line in (folder / "1.jsonl").read_text().splitlines()]
    listed = len((folder / "out" / "failed.jsonl").read_text().splitlines())
    only_good = [name for name in (folder / "out").iterdir() if name.is_dir()]
    third = timed(["segment", *map(str, good(folder / "scans")), "-o", str(folder / "out"), *base])
    return {"first": first, "second": second, "results": len(only_good), "failed": codes.count("input"),
            "listed": listed, "good_ones_again": third}  # fmt: skip


def spoil(paths: list[Path]) -> None:
    """Make scans bad, each in another way."""
    ways: list[Callable[[bytes], bytes]] = [
        lambda _: b"", lambda _: b"no scan\n", lambda data: data[: len(data) // 2], lambda data: data[:200],
        lambda data: bytes(348) + data[348:], lambda data: data[:40] + b"\xff" * 16 + data[56:],
        lambda data: data[:70] + (1792).to_bytes(2, "little") + data[72:], lambda data: gzip.compress(data)[:-9],
        lambda data: data[:80] + bytes(12) + data[92:252] + bytes(4) + data[256:], lambda _: os.urandom(5000),
    ]  # fmt: skip
    for number, path in enumerate(paths):
        path.write_bytes(ways[number % len(ways)](path.read_bytes()))


def good(folder: Path) -> list[Path]:
    return [path for number, path in enumerate(sorted(folder.iterdir())) if number % 10]


def flat(folder: Path, base: list[str], _scans: Path | None) -> dict[str, Any]:
    """Memory, open files and threads of one process over 500 scans, at a tenth, half and the end."""
    make_scans(folder / "scans", 500)
    seen: list[tuple[float, int, int]] = []
    command = [*umlite(), "segment", str(folder / "scans"), "-o", str(folder / "out"), *base, "--jsonl", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for _ in process.stdout:
            seen.append(held(process.pid))
    places = {"10%": len(seen) // 10, "50%": len(seen) // 2, "last": len(seen) - 2}
    held_at = {name: dict(zip(("mb", "files", "threads"), seen[at], strict=True)) for name, at in places.items()}
    return {"scans": len(seen), "exit_code": process.returncode, **held_at}


def held(pid: int) -> tuple[float, int, int]:
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return int(status["VmRSS"].split()[0]) / 1000, len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"])
    except (OSError, KeyError):
        return 0.0, 0, 0


def together(folder: Path, base: list[str], _scans: Path | None) -> dict[str, Any]:
    """Two batches of the same scans into one folder at once."""
    make_scans(folder / "scans", 40)
    base = ["segment", str(folder / "scans"), *base]
    ended: list[dict[str, Any]] = []
    arguments = [*base, "-o", str(folder / "out")]
    runs = [threading.Thread(target=lambda: ended.append(timed(arguments))) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    timed([*base, "-o", str(folder / "calm")])
    return {"runs": ended, "tree_is_the_same": tree(folder / "out") == tree(folder / "calm")}


def overlap(folder: Path, base: list[str], scans: Path | None) -> dict[str, Any]:
    """One run of all scans, against a run for each."""
    assert scans is not None
    paths = sorted(path for path in scans.iterdir() if path.name.endswith((".nii", ".nii.gz")))
    batch = timed(["segment", *map(str, paths), "-o", str(folder / "batch"), *base])
    single = [timed(["segment", str(p), "-o", str(folder / p.name), "--json", *base], keep=True) for p in paths]
    alone = sum(one["seconds"] for one in single)
    computing = sum(json.loads(one["stdout"])["scans"][0]["actual"]["seconds"] for one in single)
    return {"scans": len(paths), "batch_s": batch["seconds"], "single_s": alone, "single_without_start_s": computing,
            "ratio_with_start": alone / batch["seconds"], "ratio_without": computing / batch["seconds"]}  # fmt: skip


def workers(folder: Path, base: list[str], scans: Path | None) -> dict[str, Any]:
    """One process against two."""
    arguments = ["segment", str(scans), *base]
    one = timed([*arguments, "-o", str(folder / "one")])
    two = timed([*arguments, "-o", str(folder / "two"), "--workers", "2"])
    return {"one": one, "two": two, "ratio": one["seconds"] / two["seconds"],
            "tree_is_the_same": tree(folder / "one") == tree(folder / "two")}  # fmt: skip


def prediction(folder: Path, base: list[str], scans: Path | None) -> dict[str, Any]:
    """Seconds that a dry run predicts, against those of the run of 1000 jobs, without the start of the process."""
    if scans is None:
        make_phantoms(scans := folder / "scans")
    paths = sorted(path for path in scans.iterdir() if path.name.endswith((".nii", ".nii.gz")))
    with open(folder / "jobs.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["scan", "output"])
        rows.writerows([paths[n % len(paths)], folder / "out" / str(n)] for n in range(JOBS))
    arguments = ["segment", "--jobs", str(folder / "jobs.csv"), *base]
    timed([*arguments, "--dry-run"])  # calibrates
    load = os.getloadavg()[0]
    plan = json.loads(timed([*arguments, "--dry-run", "--json"], keep=True)["stdout"])
    run = timed(arguments)
    start = timed(arguments)["seconds"]  # nothing is left to do
    seconds = run["seconds"] - start
    return {"scans": plan["run"], "predicted_s": plan["seconds"], "windows_s": plan["window_seconds"],
            "besides_s": plan["scan_seconds"], "seconds": seconds, "start_s": start, "run": run,
            "ratio": plan["seconds"] / seconds, "load": [load, os.getloadavg()[0]]}  # fmt: skip


def make_phantoms(folder: Path) -> None:
    """Phantoms of an abdomen at several spacings, whole and in part: one window and more."""
    folder.mkdir()
    for spacing, parts in ((4.0, 1), (4.0, 2), (5.0, 3), (3.0, 3), (6.0, 1), (2.5, 3)):
        scan = stretched(phantom(ABDOMEN, 6.0), (spacing,) * 3)
        size = [n // parts for n in scan.shape]
        cut = scan.slicer[tuple(slice((n - m) // 2, (n + m) // 2) for n, m in zip(scan.shape, size, strict=True))]
        nib.save(cut, folder / f"{spacing:g}mm_{parts}.nii.gz")


def timed(arguments: list[str], *, keep: bool = False) -> dict[str, Any]:
    """Seconds, exit code and last line of a command."""
    start = time.perf_counter()
    done = subprocess.run([*umlite(), *arguments], capture_output=True, text=True, check=False)
    seconds = round(time.perf_counter() - start, 2)
    if keep:
        return {"seconds": seconds, "stdout": done.stdout}
    last = (done.stdout.strip().splitlines() or [""])[-1]
    return {
        "seconds": seconds,
        "exit_code": done.returncode,
        "last": last,
        "tracebacks": done.stderr.count("Traceback"),
    }


PARTS = {one.__name__: one for one in (resume, flat, together, overlap, workers, prediction)}

if __name__ == "__main__":
    sys.exit(main())

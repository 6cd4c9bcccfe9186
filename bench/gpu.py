"""Everything that is worth knowing of the engine on a GPU, in one command: first whether it is right, then how fast.

    python -m bench.gpu --out FOLDER               # both published networks with random weights, a phantom
    python -m bench.gpu --out FOLDER --rehearse    # a CPU in the place of the GPU, narrow networks: tries the script

Nothing of this has run on a GPU yet: the kernels have run in Triton's interpreter and been compiled, the engine has run
on a CPU and on tensors without numbers. The first run on a GPU is the first proof.

Parts run in the order of their worth, in a process of their own, each with a limit of time. What goes wrong in one
costs the others nothing. FOLDER gets results.json and summary.md, written anew after every row, and log.txt.
Exit code 0 if every part ended and every check passed, else 1; 2 where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.gpu_summary import summary
from bench.gpu_worker import Inline, Lost, Part, Row, Workers

PARTS = (
    Part("environment", "bench.gpu_parts:environment", 30),
    Part("kernels", "bench.gpu_parts:kernels", 100, resumes=True),
    Part("windows", "bench.gpu_parts:windows", 100),
    Part("kernel_times", "bench.gpu_parts:kernel_times", 40, resumes=True),
    Part("window_times", "bench.gpu_parts:window_times", 150),
    Part("scans", "bench.gpu_parts:scans", 90),
    Part("memory", "bench.gpu_parts:memory", 50),
    Part("tilings", "bench.gpu_tilings:tilings", 60, resumes=False),
    Part("profile", "bench.gpu_parts:profile", 40),
)
SESSION = "bench.gpu_session:Session"
LEAST_SECONDS = 5.0
NO_GPU = (
    "This measures GPUs, and torch sees none here. Run it on a machine with one and with torch's CUDA or ROCm build;\n"
    "`python -c 'import torch; print(torch.cuda.is_available())'` says True there. To try it on a CPU: --rehearse"
)


class Results:
    """What is known so far, on disk at all times.

    Args:
        folder: gets results.json and summary.md.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.parts = folder, dict[str, dict[str, Any]]()

    def rows(self) -> dict[str, list[Row]]:
        """Rows by part."""
        return {name: part["rows"] for name, part in self.parts.items()}

    def write(self) -> None:
        """Write both files anew, each whole or not at all."""
        whole = json.dumps(_plain(self.parts), indent=1, allow_nan=False)
        for name, text in (("results.json", whole), ("summary.md", summary(self.parts))):
            temporary = self.folder / f".{name}"
            temporary.write_text(text)
            os.replace(temporary, self.folder / name)

    @property
    def good(self) -> bool:
        """Whether all parts ended and all checks passed."""
        checks = [row for name in ("kernels", "windows") for row in self.rows().get(name, [])]
        return all(part["status"] == "done" for part in self.parts.values()) and all(r.get("passed") for r in checks)


def run(parts: Sequence[Part], workers: Workers | Inline, results: Results, seconds: float) -> None:
    """Run parts until they or the seconds end; every row is written as it comes."""
    end = time.monotonic() + seconds
    try:
        for part in parts:
            begun = time.monotonic()
            entry = results.parts[part.name] = {"status": "running", "seconds": 0.0, "rows": []}
            entry["status"] = _run(part, workers, results, min(end, begun + part.seconds))
            entry["seconds"] = time.monotonic() - begun
            results.write()
            print(f"{part.name}: {entry['status']}, {len(entry['rows'])} rows, {entry['seconds']:.0f} s", flush=True)
    finally:
        workers.close()
        results.write()


def _run(part: Part, workers: Workers | Inline, results: Results, end: float) -> str:
    """A part to its end, begun again after a bad row where it can go on from there; its status."""
    rows: list[Row] = results.parts[part.name]["rows"]

    def note(row: Row) -> None:
        rows.append(row)
        results.write()

    while (left := end - time.monotonic()) > LEAST_SECONDS:
        before = len(rows)
        earlier = results.rows() if part.resumes else {n: r for n, r in results.rows().items() if n != part.name}
        try:
            fault = workers.run(part, earlier, left, note)
        except Lost as lost:
            fault = str(lost)
            if part.resumes:
                note({"name": "", "kernel": "", "passed": False, "fault": fault})  # the row that it died of
        if not fault:
            return "done"
        if not part.resumes or len(rows) == before:
            return fault
    return "no time left"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; the exit code."""
    options = _options(arguments)
    if not options.rehearse:
        import torch

        if not torch.cuda.is_available():
            print(NO_GPU, file=sys.stderr)
            return 2
    from bench.gpu_session import Asked

    asked = Asked(options.device, options.weights, options.scan, options.rehearse, 1 if options.rehearse else 20)
    results = Results(options.out)
    chosen = [part for part in PARTS if not options.parts or part.name in options.parts]
    workers = Inline(SESSION, asked) if options.inline else Workers(SESSION, asked, options.out / "log.txt")
    run(chosen, workers, results, options.seconds)
    print(f"\n{(options.out / 'summary.md').read_text()}")
    return 0 if results.good else 1


def _plain(value: Any) -> Any:
    """Ready for strict JSON: numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m bench.gpu"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json, summary.md and log.txt")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ...; ROCm's are called so too")
    parser.add_argument("--seconds", type=float, default=440, help="limit for everything (default 440)")
    parser.add_argument("--parts", type=lambda text: text.split(","), help="names of parts, with commas (default: all)")
    parser.add_argument("--weights", type=Path, help="a weights file; both published networks, random, by default")
    parser.add_argument("--scan", type=Path, help="a NIfTI scan; a phantom by default")
    parser.add_argument("--rehearse", action="store_true", help="a CPU in the GPU's place, narrow networks")
    parser.add_argument("--inline", action="store_true", help="run parts in this process, for profilers and debuggers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())

"""One window by kernels of several origins in turns: OpenMP, their own threads, and those of a wheel.

    python -m bench.threads [--wheel dist/umlite-*-manylinux_2_28_x86_64.whl] [--busy]
    python -m bench.threads --quick            # narrow networks, to try the script

Each origin runs in a process of its own, which waits while another one computes. Ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.recipe import recipe_weights, sample_window
from bench.report import begin, finish, spread

ROOT = Path(__file__).parents[1]


def main() -> None:
    options = arguments()
    if options.weights:
        compute(Path(options.weights), options.threads[0])
        return
    report = begin("threads", {k: str(v) for k, v in vars(options).items()})
    with ExitStack() as stack:
        origins = environments(options, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="umlite-bench-"))))
        if options.busy:
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(busy.kill)
        for backbone in options.backbone.split(","):
            weights = recipe_weights(backbone, quick=options.quick)
            for threads in options.threads:
                key = f"{backbone}, {threads} threads"
                report[key] = compare(origins, weights, threads, options.rounds)
                for name, found in report[key].items():
                    print(f"{key}: {name} {found['seconds']['median']:.3f} s, {found['ratio']:.3f}, {found['logits']}")
    finish(report)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="wheel of this platform, whose kernels run too")
    parser.add_argument("--backbone", default="unet,swin_unetr", help="unet, swin_unetr or both (default)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--busy", action="store_true", help="another process computes on one core meanwhile")
    parser.add_argument("--quick", action="store_true", help="narrow networks")
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    return parser.parse_args()


def environments(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, str]]:
    """What makes a process take kernels of each origin. The first is what the others are compared with."""
    compiler = os.environ.get("CC") or shutil.which("cc") or "cc"
    found = {
        "OpenMP": {"CC": compiler, "PYTHONPATH": str(ROOT)},
        "own threads": {"CC": f"{compiler} -DOWN_THREADS", "PYTHONPATH": str(ROOT)},
    }
    if options.wheel:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([*install, "--target", str(folder / "site"), str(options.wheel)], check=True)
        (folder / "site" / "bench").symlink_to(ROOT / "bench")
        found["wheel"] = {"CC": "", "PYTHONPATH": str(folder / "site")}
    return {name: {**os.environ, **settings} for name, settings in found.items()}


def compare(
    origins: dict[str, dict[str, str]], weights: Path, threads: int, rounds: int
) -> dict[str, dict[str, object]]:
    """Seconds of a window by origin, the median ratio to the first origin, and a digest of the logits."""
    line = [sys.executable, "-m", "bench.threads", "--weights", str(weights), "--threads", str(threads)]
    seconds: dict[str, list[float]] = {name: [] for name in origins}
    digests = {}
    with ExitStack() as stack:
        workers = {}
        for name, environment in origins.items():
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            folder = environment["PYTHONPATH"]  # where `python -m` looks first
            worker = subprocess.Popen(line, env=environment, cwd=folder, **pipes)  # type: ignore[call-overload]
            workers[name] = stack.enter_context(worker)
            stack.callback(worker.kill)
            digests[name] = asked(worker)[0]
        for _ in range(rounds):
            for name, worker in workers.items():
                seconds[name].append(float(asked(worker)[0]))
    first = next(iter(seconds.values()))
    return {
        name: {
            "seconds": spread(values),
            "ratio": round(statistics.median(b / a for a, b in zip(first, values, strict=True)), 4),
            "logits": digests[name],
        }
        for name, values in seconds.items()
    }


def asked(worker: subprocess.Popen[str]) -> list[str]:
    """Have a worker do its next piece of work, and return what it says."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    said = worker.stdout.readline().split()
    if not said:
        raise SystemExit("A process ended early: see above.")
    return said


def compute(weights: Path, threads: int) -> None:
    """A worker: for each line of input one window. Prints a digest of the first one's logits, then seconds."""
    from umlite import Segmenter

    segmenter = Segmenter(weights, device="cpu", kernels="native", threads=threads)
    window = sample_window(segmenter.engine.card.window[0])
    first = True
    for _ in sys.stdin:
        start = time.perf_counter()
        logits = segmenter.window_logits(window)
        taken = time.perf_counter() - start
        print(hashlib.sha256(logits.numpy().tobytes()).hexdigest()[:12] if first else f"{taken:.5f}", flush=True)
        first = False


if __name__ == "__main__":
    main()

"""A scan from file to files: umlite against the reference pipeline, in turns, in one process.

    python -m bench.scan SCAN                  # all 32 classes, then liver and pancreas tumour
    python -m bench.scan SCAN --quick          # narrow networks, to try the script

The reference pipeline runs all windows and writes all files unless --windows and --files say how many to sample; its
seconds are then extrapolated, and the output says so.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from bench.recipe import recipe_weights
from bench.report import begin, finish
from umlite import Segmenter
from umlite.checks.benchmark import benchmark_scan
from umlite.checks.reference_pipeline import ReferencePipeline
from umlite.engines.options import EngineOptions
from umlite.machine.threads import available_threads

REQUESTS = ("all", "liver,pancreas_tumor")


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads or available_threads()[0])
    report = begin("scan", {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()})
    weights = options.weights or recipe_weights(options.backbone, quick=options.quick)
    chosen = EngineOptions(options.device, options.engine, options.kernels, threads=options.threads)
    reference = None if options.no_reference else ReferencePipeline(weights, options.device)
    report["requests"] = {}
    for classes in options.classes or REQUESTS:
        measured = benchmark_scan(
            lambda: Segmenter(weights, chosen),
            options.scan,
            None if classes == "all" else classes,
            repeats=options.repeats,
            reference=reference,
            reference_windows=options.windows,
            reference_files=options.files,
        )
        report["requests"][classes] = measured.to_dict()
        print(f"\n{classes}: loaded in {measured.load_s:.2f} s")
        for name, side in (("umlite", measured.ours), ("reference", measured.reference)):
            if side is None:
                continue
            total = side.to_dict()["total_s"]["p50"]
            said = f" (extrapolated: {side.windows_run} of {side.windows} windows ran)" if side.extrapolated else ""
            print(
                f"  {name:10s}{total:9.2f} s, {100 * side.share_outside_windows:.1f} % of it outside the windows, "
                f"{side.peak_bytes / 1e9:.2f} GB{said}"
            )
        if measured.ratio:
            print(f"  {measured.ratio:.1f} times the reference pipeline", flush=True)
    finish(report)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scan", type=Path)
    parser.add_argument("--backbone", default="swin_unetr", choices=("unet", "swin_unetr"))
    parser.add_argument("--weights", type=Path, help="a weights file in place of the recipe's")
    parser.add_argument("--classes", action="append", help="a request, or all; may be given several times")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--windows", type=int, help="windows of the reference pipeline that run; all by default")
    parser.add_argument("--files", type=int, help="files that the reference pipeline writes; all by default")
    parser.add_argument("--no-reference", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--engine", default="fast")
    parser.add_argument("--kernels", default="auto", help="native, torch or auto (default)")
    parser.add_argument("--threads", type=int, help="all that this process may use by default")
    parser.add_argument("--quick", action="store_true", help="narrow networks")
    return parser.parse_args()


if __name__ == "__main__":
    main()

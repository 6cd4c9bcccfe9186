"""Everything that is worth knowing of the engine on a GPU, in one command: first whether it is right, then how fast.

    python -m bench.gpu                        # both published networks with random weights, a phantom; minutes
    python -m bench.gpu --scan SCAN --weights FILE
    python -m bench.gpu --quick                # narrow networks, to try the script

Nothing of this has run on a GPU yet: the kernels have run in Triton's interpreter and been compiled, the engine has run
on a CPU and on tensors without numbers. The first run on a GPU is the first proof; please report what it prints.

In this order: every kernel against its reference and against itself; windows in float32 and float16 against the
reference engine on the CPU; nothing further where one of these fails (exit code 1). Then the kernels' times, a window
through the network beside the reference pipeline's, and a scan from file to files beside it. The last line is JSON.
Exit code 2 where there is no GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.gpu_cases import cases
from bench.gpu_device import Device, find_gpu
from bench.gpu_gate import Check, check_kernel, check_window
from bench.gpu_times import kernel_table, kernel_times, window_table, window_times
from bench.recipe import recipe_weights, sample_window
from bench.report import begin, finish
from umlite import Segmenter
from umlite.checks.benchmark import benchmark_scan
from umlite.checks.reference_pipeline import ReferencePipeline
from umlite.engines.build import build_engine
from umlite.engines.engine import Engine
from umlite.engines.options import EngineOptions
from umlite.engines.setup import choose_setup
from umlite.weights.loading import read_card

NO_GPU = (
    "This measures GPUs, and torch sees none here. Run it on a machine with one and with torch's CUDA or ROCm build;\n"
    "`python -c 'import torch; print(torch.cuda.is_available())'` says True there. On a CPU: python -m bench.forward"
)
FIRST = "Nothing of this has run on a GPU before the first report from one. Times before the checks pass mean nothing."
PHANTOM_SEED = 1_000_002


def main(arguments: Sequence[str] | None = None, gpu: Device | None = None) -> int:
    """Run everything and print it; the exit code. gpu: in place of the machine's own."""
    options = _options(arguments)
    gpu = gpu or find_gpu(options.device)
    if gpu is None:
        print(NO_GPU, file=sys.stderr)
        return 2
    report = begin("gpu", {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()})
    report["gpu"] = {"name": gpu.name, "peaks_known": gpu.peaks is not None, "ever_run_on_a_gpu": False}
    print(f"{gpu.name}\n{FIRST}\n")
    weights = [options.weights] if options.weights else [recipe_weights(b, quick=options.quick) for b in BACKBONES]
    checks = check(gpu, weights, options)
    report["checks"] = [c.to_dict() for c in checks]
    report["passed"] = all(c.passed for c in checks)
    if report["passed"]:
        measure(gpu, weights, options, report)
    else:
        print("\nNot measured: a check failed. Please report the lines above.")
    finish(report)
    return 0 if report["passed"] else 1


BACKBONES = ("unet", "swin_unetr")


def check(gpu: Device, weights: Sequence[Path], options: argparse.Namespace) -> list[Check]:
    """All checks, printed as they are done."""
    done: list[Check] = []

    def note(check: Check) -> None:
        done.append(check)
        print(check, flush=True)

    for case in cases(gpu.device, options.side):
        note(check_kernel(case))
    for path in weights:
        card = read_card(path)
        windows = torch.cat([sample_window(max(card.window), seed) for seed in range(2)])
        windows = windows[:, :, : card.window[0], : card.window[1], : card.window[2]]
        for precision in ("float32", "float16"):
            for one in check_window(engine_of(path, gpu, precision), path, windows, range(len(card.classes))):
                note(one)
    return done


def measure(gpu: Device, weights: Sequence[Path], options: argparse.Namespace, report: dict[str, Any]) -> None:
    """Kernels, windows, a scan: into the report, and as Markdown."""
    report["kernels"] = kernel_times(gpu, cases(gpu.device, options.side), options.repeats)
    print("\n".join(["", *kernel_table(report["kernels"])]), flush=True)
    report["windows"] = [window_times(gpu, engine_of(w, gpu), w, options.repeats) for w in weights]
    print("\n".join(["", *window_table(report["windows"])]), flush=True)
    report["scans"] = []
    with tempfile.TemporaryDirectory(prefix="umlite-bench-") as folder:
        scan = options.scan or phantom(Path(folder) / "phantom.nii.gz", 6.0 if options.quick else 1.5)
        for path in weights:
            measured = benchmark_scan(
                lambda path=path: Segmenter(path, device=str(gpu.device)),
                scan,
                None,
                repeats=options.scan_repeats,
                reference=ReferencePipeline(path, str(gpu.device)),
                reference_windows=options.windows,
                reference_files=options.files,
            )
            report["scans"].append({"network": read_card(path).name, **measured.to_dict()})
    print("\n".join(["", *scan_table(report["scans"])]), flush=True)


def engine_of(weights: Path, gpu: Device, precision: str = "auto") -> Engine:
    """The fast engine on this GPU, with kernels of ours or not at all."""
    setup = choose_setup(EngineOptions(str(gpu.device), kernels="native", precision=precision))
    return build_engine(weights, setup, print)


def phantom(path: Path, spacing_mm: float) -> Path:
    """A synthetic scan, written to `path`."""
    import nibabel as nib

    from umlite.phantom import make_phantom

    nib.save(make_phantom(PHANTOM_SEED, (spacing_mm, spacing_mm, 2 * spacing_mm)).image(), path)
    return path


def scan_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """File to files, all classes."""
    lines = ["| scan | windows | reference pipeline | umlite | ratio | outside the windows |", "|---|" + 5 * "---|"]
    for row in rows:
        ours, theirs = row["umlite"], row["reference"]
        said = " (extrapolated)" if theirs["extrapolated"] else ""
        lines.append(
            f"| {row['network']} | {ours['windows_run']} of {ours['windows']} | {theirs['total_s']['p50']:.2f} s{said} "
            f"| {ours['total_s']['p50']:.2f} s | {row['ratio']:.1f} | {100 * ours['share_outside_windows']:.0f} % |"
        )
    return lines


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m bench.gpu"
    )
    parser.add_argument("--scan", type=Path, help="a NIfTI scan; a phantom by default")
    parser.add_argument("--weights", type=Path, help="a weights file; both published networks, random, by default")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ...; ROCm's are called so too")
    parser.add_argument("--repeats", type=int, default=20, help="measured launches (default 20)")
    parser.add_argument("--scan-repeats", type=int, default=3, help="runs of the scan, in turns (default 3)")
    parser.add_argument("--windows", type=int, help="windows of the reference pipeline that run; all by default")
    parser.add_argument("--files", type=int, help="files that the reference pipeline writes; all by default")
    parser.add_argument("--quick", action="store_true", help="narrow networks, small kernels, few repeats")
    options = parser.parse_args(arguments)
    options.side = 32 if options.quick else 96
    if options.quick:
        options.repeats, options.scan_repeats, options.windows, options.files = 3, 1, 2, 1
    return options


if __name__ == "__main__":
    raise SystemExit(main())

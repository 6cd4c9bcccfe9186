"""One window through the network: umlite against the reference pipeline, alternating in one process.

    python -m bench.forward                    # both published networks, 1, 8 and 32 classes
    python -m bench.forward --backbone unet,segresnet --classes 25
    python -m bench.forward --quick            # seconds: narrow networks, to try the script

The reference side always computes all classes, as the published pipeline does. Ratios are taken pair by pair. With
--peers, OpenVINO and ONNX Runtime take their turns too, with the U-Net's backbone alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from bench.flops import matrix_product_peak, published_operations
from bench.peers import Peer, peers
from bench.recipe import recipe_weights, sample_window
from bench.report import begin, finish, spread
from umlite import Segmenter
from umlite.checks.reference_network import load_reference
from umlite.engines.options import EngineOptions
from umlite.gpu.transfer import synchronise
from umlite.machine.memory import peak_bytes, resident_bytes
from umlite.machine.threads import available_threads
from umlite.models.unet import UNet

T = TypeVar("T")
WORST_ERROR = 1e-3
"""Of a class's standard deviation: a side that is further off computes something else, and no ratio is given."""


def chosen(options: argparse.Namespace) -> EngineOptions:
    """What the command line asked of the engine."""
    return EngineOptions(options.device, options.engine, options.kernels, threads=options.threads)


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads or available_threads()[0])
    if options.side:
        print(json.dumps(memory_of(options)))
        return
    report = begin("forward", vars(options))
    device = torch.device(options.device)
    report["matrix_product_gflops"] = round(matrix_product_peak(device) / 1e9, 1)
    print(f"float32 matrix product: {report['matrix_product_gflops']} GFLOP/s")
    report["networks"] = [compare(backbone, options) for backbone in options.backbone.split(",")]
    report["matrix_product_gflops_after"] = round(matrix_product_peak(device) / 1e9, 1)
    finish(report)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--backbone", default="unet,swin_unetr", help="of unet, swin_unetr, segresnet; the first two by default"
    )
    parser.add_argument("--weights", type=Path, help="a weights file in place of the recipe's; names its backbone")
    parser.add_argument("--classes", default="1,8,32", help="how many classes to ask for, comma separated")
    parser.add_argument("--pairs", type=int, default=5, help="measured pairs, after one that is not (default 5)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--engine", default="fast")
    parser.add_argument("--kernels", default="auto", help="native, torch or auto (default)")
    parser.add_argument("--threads", type=int, help="all that this process may use by default")
    parser.add_argument("--peers", action="store_true", help="also OpenVINO and ONNX Runtime, on the U-Net's backbone")
    parser.add_argument("--no-memory", action="store_true", help="leave out the peak memory of each side")
    parser.add_argument("--quick", action="store_true", help="narrow networks, two pairs")
    parser.add_argument("--side", choices=("ours", "reference"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.pairs = 2 if options.quick else options.pairs
    options.weights = options.weights and str(options.weights)
    return options


def weights_of(backbone: str, options: argparse.Namespace) -> Path:
    return Path(options.weights) if options.weights else recipe_weights(backbone, quick=options.quick)


def compare(backbone: str, options: argparse.Namespace) -> dict[str, Any]:
    """Both sides of one network: seconds, ratios, error, GFLOP/s, memory."""
    weights = weights_of(backbone, options)
    start = time.perf_counter()
    segmenter = Segmenter(weights, chosen(options))
    setup = time.perf_counter() - start
    network, card = load_reference(weights, options.device)
    device, window = torch.device(options.device), card.window
    x = sample_window(max(window))[..., : window[0], : window[1], : window[2]].to(device)
    names = segmenter.classes.names
    requests = {n: names[:n] for n in sorted({min(int(n), len(names)) for n in options.classes.split(",")})}

    def reference() -> Tensor:
        with torch.inference_mode():
            return network(x)

    def ours(count: int) -> Tensor:
        return segmenter.window_logits(x, requests[count])

    print(f"\n{backbone}: window {' x '.join(map(str, window))}, set up in {setup:.2f} s", flush=True)
    others = peers_of(network, x, options)
    sides = ["reference", *map(str, requests), *(peer.name for peer in others)]
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    steps: list[dict[str, float]] = []  # of the window with the most classes
    error = 0.0
    for pair in range(options.pairs + 1):  # the first warms up, and is where both answers are compared
        expected, taken = timed(reference, device)
        times = {"reference": taken}
        for count in requests:
            answer, times[str(count)] = timed(lambda n=count: ours(n), device)
            if pair == 0:
                error = max(error, worst_error(answer, expected[:, :count]))
        for peer in others:
            times[peer.name] = timed(lambda run=peer.run: run(x.numpy()), device)[1]
        if pair == 0 and error > WORST_ERROR:
            raise SystemExit(f"{backbone}: the two sides differ by {error:.1e} of a class's standard deviation.")
        if pair:
            for side, value in times.items():
                seconds[side].append(value)
            steps.append(segmenter.engine.step_seconds())
        print("  " + ("warm-up  " if pair == 0 else f"pair {pair}   "), end="")
        print("  ".join(f"{side}: {value:.3f} s" for side, value in times.items()), flush=True)
    operations = sum(published_operations(card.network, window).values())
    result: dict[str, Any] = {
        "network": card.name,
        "backbone": backbone,
        "window": list(window),
        "classes": len(names),
        "engine": segmenter.setup.options.engine,
        "kernels": segmenter.setup.options.kernels,
        "reasons": list(segmenter.setup.reasons),
        "setup_s": round(setup, 3),
        "published_gflop": round(operations / 1e9, 1),
        "worst_error": error,
        "reference_s": spread(seconds["reference"]),
        "reference_gflops": round(operations / spread(seconds["reference"])["median"] / 1e9, 1),
        "ours": [],
        "peers": {peer.name: spread(seconds[peer.name]) for peer in others},
    }
    for count in requests:
        mine = spread(seconds[str(count)])
        ratios = [r / o for r, o in zip(seconds["reference"], seconds[str(count)], strict=True)]
        rate = round(operations / mine["median"] / 1e9, 1)
        result["ours"].append({"classes": count, "seconds": mine, "ratio": spread(ratios), "published_gflops": rate})
        print(
            f"  {count:2d} classes: {mine['median']:.3f} s, {spread(ratios)['median']:.1f} times the reference "
            f"({spread(ratios)['least']:.1f} to {spread(ratios)['most']:.1f}), {rate} published GFLOP/s"
        )
    for name, taken in result["peers"].items():
        print(f"  {name}: {taken['median']:.3f} s for the backbone alone")
    print(f"  worst error {error:.1e} of a class's standard deviation")
    result["layers"] = layer_rows(segmenter, steps, seconds[str(max(requests))])
    for row in result["layers"]:
        print(f"  {row['ms']:8.2f} ms  {row['share']:6.1%}  {row['step']:28} {row['algorithm']}")
    if not options.no_memory:
        result["memory"] = {side: memory_in_subprocess(side, backbone, options) for side in ("ours", "reference")}
        for side, memory in result["memory"].items():
            print(f"  {side}: {memory['peak_gb']} GB at most, {memory['resident_gb']} GB between windows")
    return result


def peers_of(network: torch.nn.Module, x: Tensor, options: argparse.Namespace) -> list[Peer]:
    """Other engines that take part: with --peers, on a CPU, for a U-Net."""
    backbone = network.get_submodule("backbone")
    if not options.peers or options.device != "cpu" or not isinstance(backbone, UNet):
        return []
    return peers(backbone, x, torch.get_num_threads())


def layer_rows(
    segmenter: Segmenter, steps: Sequence[dict[str, float]], windows: Sequence[float]
) -> list[dict[str, Any]]:
    """A row a step of a window: median milliseconds, share of the window's, algorithm; the heads are what is left."""
    if not all(steps):
        return []
    how = {row["layer"]: row["algorithm"] for row in segmenter.layers()}
    whole = statistics.median(windows)
    medians = {name: statistics.median(taken[name] for taken in steps) for name in steps[0]}
    medians["heads"] = whole - sum(medians.values())
    return [
        {"step": name, "ms": round(1000 * median, 2), "share": round(median / whole, 4), "algorithm": how.get(name, "")}
        for name, median in medians.items()
    ]


def timed(compute: Callable[[], T], device: torch.device) -> tuple[T, float]:
    start = time.perf_counter()
    answer = compute()
    synchronise(device)
    return answer, time.perf_counter() - start


def worst_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference of two [N, C, D, H, W], each class's in units of its standard deviation."""
    deviation = expected.transpose(0, 1).flatten(1).std(1)
    difference = (found - expected).abs().transpose(0, 1).flatten(1).amax(1)
    return float((difference / deviation).max())


def memory_in_subprocess(side: str, backbone: str, options: argparse.Namespace) -> dict[str, float]:
    """Memory of a process that does nothing but one side's windows."""
    command = [sys.executable, "-m", "bench.forward", "--side", side, "--backbone", backbone]
    command += ["--device", options.device, "--engine", options.engine, "--threads", str(torch.get_num_threads())]
    command += ["--kernels", options.kernels]
    command += ["--quick"] if options.quick else []
    command += ["--weights", options.weights] if options.weights else []
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    memory: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return memory


def memory_of(options: argparse.Namespace) -> dict[str, float]:
    """Three windows of one side in this process: its peak, and what stays between windows."""
    weights = weights_of(options.backbone, options)
    if options.side == "ours":
        segmenter = Segmenter(weights, chosen(options))
        window = segmenter.card.window

        def compute(x: Tensor) -> None:
            segmenter.window_logits(x)
    else:
        network, card = load_reference(weights, options.device)
        window = card.window

        def compute(x: Tensor) -> None:
            with torch.inference_mode():
                network(x)

    x = sample_window(max(window))[..., : window[0], : window[1], : window[2]].to(options.device)
    for _ in range(2 if options.quick else 3):
        compute(x)
    return {"peak_gb": round(peak_bytes() / 1e9, 3), "resident_gb": round(resident_bytes() / 1e9, 3)}


if __name__ == "__main__":
    main()

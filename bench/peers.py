"""The backbone of a U-Net by other engines, for the table of `bench.forward`: OpenVINO and ONNX Runtime, float32.

Both read one ONNX file that torch exports. Neither knows the heads, which are left out in their favour. They come with
the extra `peers`; one that is not installed is left out. OpenVINO's package brings one that reports how its converter
is used; nothing here calls the converter.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

OUTPUT = "feature"
WORST_ERROR = 1e-3
"""Of the feature's largest value: a peer that is further off computes something else."""

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Peer:
    """Another engine, ready to run. name: with its version. run: a window [1, 1, D, H, W] to the feature."""

    name: str
    run: Run


def peers(backbone: nn.Module, window: Tensor, threads: int) -> list[Peer]:
    """Those engines that are installed, each checked against torch on `window`.

    Raises SystemExit when one computes something else.
    """
    made = {name: engine for name, engine in ENGINES.items() if importlib.util.find_spec(name)}
    for name in ENGINES.keys() - made.keys():
        print(f"  {name}: not installed (pip install 'umlite[peers]')")
    if not made:
        return []
    with tempfile.TemporaryDirectory(prefix="umlite-bench-") as folder:
        path = Path(folder) / "backbone.onnx"
        names = {"input_names": ["window"], "output_names": ["bottleneck", OUTPUT]}
        with torch.inference_mode():
            torch.onnx.export(backbone, (window,), str(path), dynamo=False, **names)
            expected = backbone(window)[1].numpy()
        found = [engine(path, threads) for engine in made.values()]
    for peer in found:
        error = float(np.abs(peer.run(window.numpy()) - expected).max() / np.abs(expected).max())
        print(f"  {peer.name}: backbone alone, differs from torch by {error:.1e} of the largest value")
        if error > WORST_ERROR:
            raise SystemExit(f"{peer.name} computes something else.")
    return found


def _openvino(path: Path, threads: int) -> Peer:
    import openvino

    core = openvino.Core()
    # It takes bfloat16 where the processor has it, unless told otherwise.
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    return Peer(
        f"OpenVINO {openvino.__version__.split('-')[0]}",
        lambda x: compiled(x)[compiled.output(OUTPUT)],
    )


def _onnx_runtime(path: Path, threads: int) -> Peer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Peer(f"ONNX Runtime {onnxruntime.__version__}", lambda x: session.run([OUTPUT], {"window": x})[0])


ENGINES: dict[str, Callable[[Path, int], Peer]] = {"openvino": _openvino, "onnxruntime": _onnx_runtime}
"""By the name of their package."""

"""A roofline on paper: the least time one window can take on a GPU, operation by operation. Computed, not measured.

Every operation of a window costs at least the longer of its multiplications at the unit's peak and its bytes at the
memory's peak. The network runs on the meta device, where only shapes exist, and each operation reports both. Two ways
are counted: the published one (float32 with TF32 products, grouped convolutions over repeated channels) and what a GPU
engine on this project's kernels can reach (float16, fused heads and attention); no such engine is there yet. Caches
are taken as useless between operations and perfect within one.

    python -m bench.roofline [--json]
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from umlite.kernels.sets import FAST, REFERENCE
from umlite.models.config import HeadConfig, NetworkConfig, SwinUNETRConfig, UNetConfig
from umlite.models.universal import UniversalModel

WINDOW = 96
CLASSES = 32


@dataclass(frozen=True)
class GPU:
    """Dense peaks from the makers' data sheets. lanes: float32 multiply-adds a clock over the whole chip."""

    name: str
    half_tflops: float
    tf32_tflops: float
    float_tflops: float
    memory_gb_s: float


GPUS = (
    GPU("H100 SXM", 989, 494, 67, 3350),
    GPU("A100 SXM 80 GB", 312, 156, 19.5, 2039),
    GPU("RTX 4090", 165, 82.6, 82.6, 1008),
    GPU("MI300X", 1307, 654, 163, 5300),
)


@dataclass
class Cost:
    """Multiply-add work of matrix units and of ordinary float32 units (floating-point operations), and bytes moved."""

    matrix_flop: float = 0.0
    float_flop: float = 0.0
    bytes: float = 0.0

    def seconds(self, gpu: GPU, half: bool) -> float:
        matrix = self.matrix_flop / ((gpu.half_tflops if half else gpu.tf32_tflops) * 1e12)
        return max(matrix, self.float_flop / (gpu.float_tflops * 1e12), self.bytes / (gpu.memory_gb_s * 1e9))


@dataclass
class Ledger(TorchDispatchMode):
    """Writes down what each operation costs, under the stage it belongs to."""

    operations: list[tuple[str, Cost]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not _is_view(func):
            inputs, outputs = _tensors((args, kwargs)), _tensors(result)
            moved = sum(t.numel() * t.element_size() for t in inputs + outputs)
            name = func._schema.name
            cost = Cost(bytes=moved)
            work = _work(name, args, outputs)
            if name in _FLOAT_UNITS:
                cost.float_flop = work
            else:
                cost.matrix_flop = work
            if name == "umlite::norm_act":  # the statistics are a pass of their own
                cost.bytes += inputs[0].numel() * inputs[0].element_size()
            self.operations.append((_STAGES.get(name, "copies, pointwise"), cost))
        return result

    def stages(self) -> dict[str, Cost]:
        """Sums per stage."""
        sums: dict[str, Cost] = {}
        for stage, cost in self.operations:
            total = sums.setdefault(stage, Cost())
            total.matrix_flop += cost.matrix_flop
            total.float_flop += cost.float_flop
            total.bytes += cost.bytes
        return sums

    def seconds(self, gpu: GPU, half: bool) -> dict[str, float]:
        """Least time per stage: the sum over its operations, each with its own limit."""
        sums: dict[str, float] = {}
        for stage, cost in self.operations:
            sums[stage] = sums.get(stage, 0.0) + cost.seconds(gpu, half)
        return sums


_STAGES = {
    "aten::convolution": "convolutions",
    "aten::mm": "linear layers",
    "aten::addmm": "linear layers",
    "aten::bmm": "attention",
    "aten::baddbmm": "attention",
    "aten::_softmax": "attention",
    "umlite::window_attention": "attention",
    "umlite::norm_act": "norms and activations",
    "aten::native_batch_norm": "norms and activations",
    "aten::_native_batch_norm_legit": "norms and activations",
    "aten::native_layer_norm": "norms and activations",
    "aten::native_group_norm": "norms and activations",
    "aten::relu": "norms and activations",
    "aten::leaky_relu": "norms and activations",
    "aten::gelu": "norms and activations",
    "umlite::dynamic_heads": "heads",
    "published::heads": "heads",
    "blend": "heads",
}
_FLOAT_UNITS = {"umlite::dynamic_heads"}
_FREE = {"aten::detach", "aten::empty", "aten::empty_like", "aten::new_empty", "aten::_unsafe_view"}


def _work(name: str, args: Any, outputs: list[Tensor]) -> float:
    """Floating-point operations, two per multiply-add."""
    if name == "aten::convolution":
        x, weight, transposed = args[0], args[1], args[6]
        return 2.0 * (x if transposed else outputs[0]).numel() * math.prod(weight.shape[1:])
    if name in ("aten::mm", "aten::bmm"):
        return 2.0 * outputs[0].numel() * args[0].shape[-1]
    if name in ("aten::addmm", "aten::baddbmm"):
        return 2.0 * outputs[0].numel() * args[1].shape[-1]
    if name == "umlite::window_attention":
        qkv, _, _, _, window, _ = args
        sides = [min(side, window) for side in qkv.shape[1:4]]
        padded = math.prod(-(-n // side) * side for n, side in zip(qkv.shape[1:4], sides, strict=True))
        return 4.0 * qkv.shape[0] * padded * math.prod(sides) * qkv.shape[-1] / 3
    if name == "umlite::dynamic_heads":
        h, params = args
        return 2.0 * h.numel() / h.shape[1] * params.shape[1] * (2 * h.shape[1] ** 2 + h.shape[1])
    return 0.0


def _tensors(tree: Any) -> list[Tensor]:
    found, _ = torch.utils._pytree.tree_flatten(tree)
    return [t for t in found if isinstance(t, Tensor)]


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    aliases = [r.alias_info for r in returns if r.alias_info is not None]
    if aliases and not any(a.is_write for a in aliases):
        return True
    return func._schema.name in (
        "aten::detach",
        "aten::empty",
        "aten::empty_like",
        "aten::new_empty",
        "aten::_unsafe_view",
    )


def published_heads(h: Tensor, params: Tensor) -> Tensor:
    """The published way: the 8 channels repeated for every class, then three grouped convolutions."""
    classes, k = params.shape[1], h.shape[1]
    w1, w2, w3, b1, b2, b3 = params[0].split((k * k, k * k, k, k, k, 1), dim=1)
    y = h.repeat(1, classes, 1, 1, 1)
    y = F.relu(F.conv3d(y, w1.reshape(-1, k, 1, 1, 1), b1.reshape(-1), groups=classes))
    y = F.relu(F.conv3d(y, w2.reshape(-1, k, 1, 1, 1), b2.reshape(-1), groups=classes))
    return F.conv3d(y, w3.reshape(-1, k, 1, 1, 1), b3.reshape(-1), groups=classes)


def count(backbone: UNetConfig | SwinUNETRConfig, ours: bool) -> Ledger:
    """Everything one window of 96^3 and 32 classes does, blending included."""
    with torch.device("meta"):
        model = UniversalModel(NetworkConfig(backbone, HeadConfig(CLASSES)), FAST if ours else REFERENCE)
        x = torch.empty(1, 1, WINDOW, WINDOW, WINDOW)
        sums = torch.empty(CLASSES, WINDOW, WINDOW, WINDOW)
        importance = torch.empty(WINDOW, WINDOW, WINDOW)
    if ours:
        model, x = model.half(), x.half()
    ledger = Ledger()
    with torch.no_grad(), ledger:
        bottleneck, feature = model.backbone(x)
        image = model.generator.image_vector(bottleneck)
        params = torch.empty(1, CLASSES, model.config.head.parameters, dtype=x.dtype, device="meta")
    if ours:  # from the feature to the blended sums in one kernel: normalised, 64 -> 8, all classes, added in place
        voxels = feature.shape[1] * WINDOW**3
        moved = 2 * voxels * feature.element_size() + 2 * sums.numel() * 4 + importance.numel() * 4
        flop = 2.0 * WINDOW**3 * (8 * feature.shape[1] + CLASSES * 136)
        ledger.operations.append(("heads", Cost(float_flop=flop, bytes=moved)))
        return ledger
    before = len(ledger.operations)
    with torch.no_grad(), ledger:
        logits = published_heads(model.head_input(feature), params)
        sums += logits[0] * importance
    ledger.operations[before:] = [("heads", cost) for _, cost in ledger.operations[before:]]
    del image
    return ledger


def report() -> list[dict[str, Any]]:
    """Floors in milliseconds, per backbone, GPU and stage."""
    rows = []
    for backbone in (UNetConfig(), SwinUNETRConfig()):
        ledgers = {"published": count(backbone, ours=False), "umlite": count(backbone, ours=True)}
        for gpu in GPUS:
            for way, ledger in ledgers.items():
                stages = {s: 1e3 * t for s, t in ledger.seconds(gpu, half=way == "umlite").items()}
                total = ledger.stages().values()
                rows.append(
                    {
                        "backbone": backbone.kind,
                        "gpu": gpu.name,
                        "way": way,
                        "stages_ms": stages,
                        "window_ms": sum(stages.values()),
                        "gflop": sum(c.matrix_flop + c.float_flop for c in total) / 1e9,
                        "gbytes": sum(c.bytes for c in ledger.stages().values()) / 1e9,
                    }
                )
    return rows


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Markdown."""
    rows = list(rows)
    names = list(dict.fromkeys(s for row in rows for s in row["stages_ms"]))
    lines = [
        "Computed from shapes and data sheets, not measured: the least time of one 96^3 window, 32 classes, in ms.",
        "",
        f"| network | GPU | way | GFLOP | GB | {' | '.join(names)} | window |",
        "|---|---|---|---|---|" + "---|" * (len(names) + 1),
    ]
    for row in rows:
        stages = " | ".join(f"{row['stages_ms'].get(name, 0):.2f}" for name in names)
        cells = f"{row['backbone']} | {row['gpu']} | {row['way']} | {row['gflop']:.0f} | {row['gbytes']:.1f}"
        lines.append(f"| {cells} | {stages} | {row['window_ms']:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    found = report()
    print(json.dumps(found, indent=1) if "--json" in sys.argv[1:] else table(found))

"""A roofline on paper: the least time one window can take on a GPU, operation by operation. Computed, not measured.

Every operation of a window costs at least the longest of its multiplications at the unit's peak, its bytes at the
memory's peak and, for our own kernels, the instructions that they were compiled to at the rate that the chip issues
them. Two ways are counted: the published one (float32 with TF32 products, grouped convolutions over repeated
channels), whose library kernels are taken as perfect, and the engine for GPUs (float16, this project's kernels for
gather, attention, norms, heads and decision; convolutions and linear layers of libraries, again perfect). Caches are
taken as useless between operations and perfect within one.

    python -m bench.roofline [--json]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench import kernel_counts
from bench.ledger import LIMITS, Cost, Ledger
from bench.paper_gpus import GPU, GPUS
from umlite.kernels.implementations import FAST, REFERENCE
from umlite.models.config import HeadConfig, NetworkConfig, SwinUNETRConfig, UNetConfig
from umlite.models.universal import UniversalModel

__all__ = ["GPU", "GPUS", "count", "counts_table", "published_heads", "report", "table"]

WINDOW = 96
VOXELS = WINDOW**3
NEW_VOXELS = (WINDOW // 2) ** 3  # of the scan, for each window at overlap 0.5
CLASSES = 32


def published_heads(h: Tensor, params: Tensor) -> Tensor:
    """The published way: the 8 channels repeated for every class, then three grouped convolutions."""
    classes, k = params.shape[1], h.shape[1]
    w1, w2, w3, b1, b2, b3 = params[0].split((k * k, k * k, k, k, k, 1), dim=1)
    y = h.repeat(1, classes, 1, 1, 1)
    y = F.relu(F.conv3d(y, w1.reshape(-1, k, 1, 1, 1), b1.reshape(-1), groups=classes))
    y = F.relu(F.conv3d(y, w2.reshape(-1, k, 1, 1, 1), b2.reshape(-1), groups=classes))
    return F.conv3d(y, w3.reshape(-1, k, 1, 1, 1), b3.reshape(-1), groups=classes)


def count(backbone: UNetConfig | SwinUNETRConfig, ours: bool, head: HeadConfig | None = None) -> Ledger:
    """Everything one window of 96^3 and 32 classes does, from the gather to its share of the decision."""
    with torch.device("meta"):
        config = NetworkConfig(backbone, head or HeadConfig(CLASSES))
        model = UniversalModel(config, FAST if ours else REFERENCE)
        x = torch.empty(1, 1, WINDOW, WINDOW, WINDOW)
        sums = torch.empty(CLASSES, WINDOW, WINDOW, WINDOW)
        importance = torch.empty(WINDOW, WINDOW, WINDOW)
        params = torch.empty(1, CLASSES, model.config.head.parameters)
    if ours:
        model, x = model.half(), x.half()
    ledger = Ledger()
    with torch.no_grad(), ledger:
        bottleneck, feature = model.backbone(x)
        model.generator.image_vector(bottleneck)
    if ours:
        ledger.operations += _our_ends(feature.shape[1])
        return ledger
    before = len(ledger.operations)
    with torch.no_grad(), ledger:
        logits = published_heads(model.head_input(feature), params)
        sums += logits[0] * importance
        sums[:, : WINDOW // 2, : WINDOW // 2, : WINDOW // 2].sigmoid()
    ledger.operations[before:] = [("heads, blending", cost) for _, cost in ledger.operations[before:]]
    return ledger


def _our_ends(channels: int) -> list[tuple[str, Cost]]:
    """Before and after the backbone: the gather; statistics, heads and blending of the feature; the decision."""
    feature = channels * VOXELS
    flop = 2.0 * VOXELS * (8 * channels + CLASSES * 136)
    ends = {
        "gather, decision": [
            Cost(bytes=VOXELS * (4 + 2), instructions=lambda target: kernel_counts.gather(VOXELS, target)),
            Cost(
                bytes=NEW_VOXELS * (4 * CLASSES + 4),
                instructions=lambda target: kernel_counts.decide(NEW_VOXELS, CLASSES, target),
            ),
        ],
        "heads, blending": [
            Cost(bytes=2 * feature, instructions=lambda target: kernel_counts.statistics(feature, target)),
            Cost(
                matrix_flop=flop,
                bytes=2 * feature + 4 * VOXELS * (2 * CLASSES + 1),
                instructions=lambda target: kernel_counts.heads(VOXELS, CLASSES, target),
            ),
        ],
    }
    return [(stage, cost) for stage, costs in ends.items() for cost in costs]


def report() -> list[dict[str, Any]]:
    """Floors in milliseconds, per backbone, GPU and stage, and what sets each."""
    rows = []
    for backbone in (UNetConfig(), SwinUNETRConfig()):
        ledgers = {"published": count(backbone, ours=False), "umlite": count(backbone, ours=True)}
        for gpu in GPUS:
            for way, ledger in ledgers.items():
                stages = ledger.seconds(gpu, half=way == "umlite")
                sums = ledger.stages()
                total = sums.values()
                rows.append(
                    {
                        "backbone": backbone.kind,
                        "gpu": gpu.name,
                        "way": way,
                        "stages_ms": {stage: 1e3 * sum(limits.values()) for stage, limits in stages.items()},
                        "stages_gflop": {s: (c.matrix_flop + c.float_flop) / 1e9 for s, c in sums.items()},
                        "stages_gbytes": {s: c.bytes / 1e9 for s, c in sums.items()},
                        "stages_ginstructions": {s: n / 1e9 for s, n in ledger.instructions(gpu.target).items()},
                        "limits": {stage: max(LIMITS, key=lambda n: limits[n]) for stage, limits in stages.items()},
                        "window_ms": 1e3 * sum(sum(limits.values()) for limits in stages.values()),
                        "gflop": sum(c.matrix_flop + c.float_flop for c in total) / 1e9,
                        "gbytes": sum(c.bytes for c in total) / 1e9,
                    }
                )
    return rows


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Markdown."""
    rows = list(rows)
    names = list(dict.fromkeys(s for row in rows for s in row["stages_ms"]))
    lines = [
        "Computed from shapes, data sheets and compiled code, not measured: the least time of one 96^3 window with",
        "32 classes, in ms. What sets most of it: m memory, p products, i instructions of our own kernels.",
        "",
        f"| network | GPU | way | GFLOP | GB | {' | '.join(names)} | window |",
        "|---|---|---|---|---|" + "---|" * (len(names) + 1),
    ]
    for row in rows:
        stages = " | ".join(_cell(row, name) for name in names)
        cells = f"{row['backbone']} | {row['gpu']} | {row['way']} | {row['gflop']:.0f} | {row['gbytes']:.1f}"
        lines.append(f"| {cells} | {stages} | {row['window_ms']:.2f} |")
    return "\n".join(lines)


def counts_table(rows: Iterable[dict[str, Any]]) -> str:
    """Markdown: what each stage of a window does, and what our compiled kernels issue for it."""
    rows = list(rows)
    names = list(dict.fromkeys(row["gpu"] for row in rows))
    lines = [
        "Operations and bytes of one window, and 10^9 instructions (times lanes) of our own kernels as compiled.",
        "",
        f"| network | way | stage | GFLOP | GB | {' | '.join(names)} |",
        "|---|---|---|---|---|" + "---|" * len(names),
    ]
    for first in (row for row in rows if row["gpu"] == names[0]):
        alike = [r for r in rows if (r["backbone"], r["way"]) == (first["backbone"], first["way"])]
        for stage, gflop in first["stages_gflop"].items():
            issued = [r["stages_ginstructions"][stage] for r in alike]
            cells = [f"{gflop:.1f}", f"{first['stages_gbytes'][stage]:.2f}", *(f"{n:.2f}" if n else "" for n in issued)]
            lines.append(f"| {first['backbone']} | {first['way']} | {stage} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any], stage: str) -> str:
    if stage not in row["stages_ms"]:
        return ""
    return f"{row['stages_ms'][stage]:.2f} {row['limits'][stage][0]}"


if __name__ == "__main__":
    found = report()
    print(json.dumps(found, indent=1) if "--json" in sys.argv[1:] else f"{table(found)}\n\n{counts_table(found)}")

"""What the operations of a network cost on paper: it runs on the meta device, where only shapes exist."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench import kernel_counts
from bench.paper_gpus import GPU

LIMITS = ("memory", "products", "instructions")


@dataclass
class Cost:
    """Multiply-add work of matrix units and of ordinary float32 units (floating-point operations), and bytes moved.

    instructions: that our kernel issues on a target, times lanes; 0 for operations of libraries, which are taken as
    perfect.
    """

    matrix_flop: float = 0.0
    float_flop: float = 0.0
    bytes: float = 0.0
    instructions: Callable[[str], float] = field(default=lambda _target: 0.0)

    def limits(self, gpu: GPU, half: bool) -> dict[str, float]:
        """Least seconds by each of LIMITS; the longest is the operation's."""
        matrix = self.matrix_flop / ((gpu.half_tflops if half else gpu.tf32_tflops) * 1e12)
        return {
            "memory": self.bytes / (gpu.memory_gb_s * 1e9),
            "products": max(matrix, self.float_flop / (gpu.float_tflops * 1e12)),
            "instructions": self.instructions(gpu.target) / gpu.instructions_per_s,
        }


@dataclass
class Ledger(TorchDispatchMode):
    """Writes down what each operation costs, under the stage it belongs to."""

    operations: list[tuple[str, Cost]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name
        if name not in _FREE and not _is_view(func):
            self.operations.append((_STAGES.get(name, "copies, pointwise"), _cost(name, args, kwargs, result)))
        return result

    def stages(self) -> dict[str, Cost]:
        """Sums per stage, but for instructions, which depend on the target."""
        sums: dict[str, Cost] = {}
        for stage, cost in self.operations:
            total = sums.setdefault(stage, Cost())
            total.matrix_flop += cost.matrix_flop
            total.float_flop += cost.float_flop
            total.bytes += cost.bytes
        return sums

    def instructions(self, target: str) -> dict[str, float]:
        """Per stage, what our own kernels issue on a target, times lanes; 0 where a stage has none of ours."""
        sums: dict[str, float] = {}
        for stage, cost in self.operations:
            sums[stage] = sums.get(stage, 0.0) + cost.instructions(target)
        return sums

    def seconds(self, gpu: GPU, half: bool) -> dict[str, dict[str, float]]:
        """Least time per stage: the sum over its operations, each by its own limit, kept apart by limit."""
        sums: dict[str, dict[str, float]] = {}
        for stage, cost in self.operations:
            limits = cost.limits(gpu, half)
            limit = max(LIMITS, key=lambda name: limits[name])
            sums.setdefault(stage, dict.fromkeys(LIMITS, 0.0))[limit] += limits[limit]
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
}
_FREE = {"aten::detach", "aten::empty", "aten::empty_like", "aten::new_empty", "aten::_unsafe_view"}


def _cost(name: str, args: Any, kwargs: Any, result: Any) -> Cost:
    inputs, outputs = _tensors((args, kwargs)), _tensors(result)
    cost = Cost(_work(name, args, outputs), bytes=sum(t.numel() * t.element_size() for t in inputs + outputs))
    if name == "umlite::norm_act":
        elements = args[0].numel()
        cost.bytes += elements * args[0].element_size()  # the statistics are a pass of their own
        cost.instructions = lambda target: kernel_counts.norm_act(elements, target)
    if name == "umlite::window_attention":
        qkv, _, _, heads, window, shift = args
        n, *grid, _ = qkv.shape
        cost.instructions = lambda target: n * kernel_counts.attention(grid, heads, window, shift, target)
    return cost


def _work(name: str, args: Any, outputs: list[Tensor]) -> float:
    """Floating-point operations of matrix units, two per multiply-add."""
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
    return 0.0


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _is_view(func: Any) -> bool:
    aliases = [r.alias_info for r in func._schema.returns if r.alias_info is not None]
    return bool(aliases) and not any(a.is_write for a in aliases)

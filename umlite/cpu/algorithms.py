"""The choice of an algorithm for each layer: a pure function of shapes, caches, threads and a limit of error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from umlite.cpu.activation import Grid, padded
from umlite.machine.processor import Machine


@dataclass(frozen=True)
class Algorithm:
    """A way to compute a convolution.

    Args:
        name: for people.
        kernel: its number in the C files.
        taps: taps of the convolution per axis.
        tile: outputs of a tile per axis.
        points: products per tile.
        error: relative L2 error of one layer of 64 channels against float64 (ReLU inputs, measured).
        library: the C file that has it.
    """

    name: str
    kernel: int
    taps: int
    tile: int
    points: int
    error: float
    library: str = "winograd"


DIRECT3 = Algorithm("direct 3^3", 3, 3, 1, 27, 3e-7, "direct")
DIRECT2 = Algorithm("direct 2^3", 2, 2, 1, 8, 3e-7, "direct")
POINTWISE = Algorithm("1^3", 1, 1, 1, 1, 2e-7, "pointwise")
F23 = Algorithm("F(2,3)", 23, 3, 2, 64, 2.9e-7)
F43 = Algorithm("F(4,3)", 43, 3, 4, 216, 1.3e-6)
F22 = Algorithm("F(2,2)", 22, 2, 2, 27, 3.3e-7)
F42 = Algorithm("F(4,2)", 42, 2, 4, 125, 1.2e-6)
IMAGE = Algorithm("one channel", 3, 3, 1, 27, 2e-7, "image")
STRIDED = Algorithm("3^3, stride 2", 1, 3, 2, 27, 3e-7, "strided")  # packed as products; tile: inputs of an output
TRILINEAR = Algorithm("trilinear", 0, 1, 1, 0, 1e-7, "upsample")
ALGORITHMS = (DIRECT3, DIRECT2, POINTWISE, F23, F43, F22, F42)

ERROR_GATE = 2e-6
"""Largest relative error of a layer: whole networks are then as exact as eager float32. F(6,3) has 1.2e-5."""

WEIGHT_LIMIT_BYTES = 160 << 20
"""Largest packed weights of one layer; F(4,2) on the coarsest grid would take 524 MB."""

# Rough speeds of one core, for comparing algorithms with each other only.
PRODUCTS_PER_S = 35e9
MEMORY_BYTES_PER_S = 15e9
TRANSFORM_S = 11e-9  # of one channel of one point, eight points at a time


@dataclass(frozen=True)
class Shape:
    """The shape of a layer.

    Args:
        name: unique in its network.
        grid: what it reads.
        inputs: channels that it reads.
        outputs: channels that it writes.
        taps: per axis: 3, 2 (merged from 3), or 1.
        up: it writes a grid of twice the size, with eight kernels.
        pool: it also writes a 2^3 maximum.
    """

    name: str
    grid: Grid
    inputs: int
    outputs: int
    taps: int
    up: bool = False
    pool: bool = False

    @property
    def sets(self) -> int:
        return 8 if self.up else 1


@dataclass(frozen=True)
class Choice:
    """How one layer runs.

    Args:
        shape: the layer.
        algorithm: the way to compute it.
        block: tiles (or voxels) at a time.
        shared: threads work on one block together.
    """

    shape: Shape
    algorithm: Algorithm
    block: int
    shared: bool

    @property
    def tiles(self) -> int:
        """The number of tiles of one parity."""
        return tiles_of(self.shape.grid, self.algorithm.tile)

    @property
    def weight_bytes(self) -> int:
        return weight_bytes(self.shape, self.algorithm)

    @property
    def products(self) -> int:
        """The number of multiplications that run."""
        return self.tiles * self.weight_bytes // 4


def tiles_of(grid: Grid, tile: int) -> int:
    count = 1
    for side in grid:
        count *= -(-side // tile)
    return count


def weight_bytes(shape: Shape, algorithm: Algorithm) -> int:
    return 4 * shape.sets * algorithm.points * padded(shape.inputs) * padded(shape.outputs)


def choose(
    shape: Shape, machine: Machine, *, error_gate: float = ERROR_GATE, weight_limit_bytes: int = WEIGHT_LIMIT_BYTES
) -> Choice:
    """The algorithm that should be fastest among those exact and small enough, or else the smallest.

    It does not depend on the number of threads, and so neither do results.
    """
    able = [a for a in ALGORITHMS if a.taps == shape.taps and not (a.library == "direct" and shape.pool)]
    exact = [a for a in able if a.error <= error_gate] or [min(able, key=lambda a: a.error)]
    small = [a for a in exact if weight_bytes(shape, a) <= weight_limit_bytes]
    algorithm = (
        min(small, key=lambda a: _estimate_s(shape, a)) if small else min(exact, key=lambda a: weight_bytes(shape, a))
    )
    return Choice(shape, algorithm, *_blocks(shape, algorithm, machine))


def _estimate_s(shape: Shape, algorithm: Algorithm) -> float:
    """Estimate the seconds on one core: products, weights from memory, transforms."""
    tiles = tiles_of(shape.grid, algorithm.tile) * shape.sets
    weights = weight_bytes(shape, algorithm)
    seconds = tiles / shape.sets * weights / 4 / PRODUCTS_PER_S + weights / MEMORY_BYTES_PER_S
    if algorithm.library == "winograd":
        seconds += tiles * algorithm.points * (shape.inputs + shape.outputs) * TRANSFORM_S / 8
    elif algorithm.library == "direct":
        seconds *= 1.15  # accumulators go through L1 with every tap
    return seconds


def _blocks(shape: Shape, algorithm: Algorithm, machine: Machine) -> tuple[int, bool]:
    """Tiles per block, and whether threads share a block.

    A block reads all weights once: the further away they are, the more tiles must pay for it. But V and M of a block
    should stay in the caches. Threads share the blocks of layers with few tiles, or each would read all weights.
    """
    tiles = tiles_of(shape.grid, algorithm.tile)
    if algorithm.library == "direct":
        return tiles, False
    if algorithm.library == "pointwise":
        return 96, False
    weights = weight_bytes(shape, algorithm) // shape.sets
    block = 12 if weights <= machine.l3_bytes // 4 else 24 if weights <= machine.l3_bytes // 2 else 36
    if block == 12 and machine.l2_bytes >= 1 << 20 and min(shape.inputs, shape.outputs) >= 48:
        block = 24 if tiles * shape.sets >= 24 * 16 * machine.threads else 12
    if tiles <= 54 and not shape.up:
        return tiles, True
    if tiles * shape.sets < 2 * block * machine.threads:
        block = max(6, tiles * shape.sets // (2 * machine.threads) // 6 * 6)
    return min(block, tiles), False


def layer_rows(choices: Iterable[Choice]) -> list[dict[str, str]]:
    """How layers run, a row of words for each: name, grid, channels, algorithm, block, weights, products."""
    rows = []
    for c in choices:
        s = c.shape
        rows.append(
            {
                "layer": s.name,
                "grid": "x".join(map(str, s.grid)) + (" up" if s.up else ""),
                "channels": f"{s.inputs} -> {s.outputs}",
                "algorithm": c.algorithm.name,
                "error": f"{c.algorithm.error:.1e}",
                "block": f"{c.block} shared" if c.shared else f"{c.block}",
                "weights MB": f"{c.weight_bytes / 1e6:.1f}",
                "products G": f"{c.products / 1e9:.2f}",
            }
        )
    return rows

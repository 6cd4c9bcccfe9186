"""Convolutions 3^3 by Winograd's F(4, 3) in torch operations alone, for a CPU without a C compiler.

    y = A^T [ (G w) * (B^T d) ]        along each axis: 216 products instead of 1728 for 4^3 outputs of a channel pair

The points 0, +-5/8, +-3/2 and infinity have a third of the error of the usual ones at the same cost. umlite/cpu does
the same in C, several times faster. Sources: Lavin and Gray, arXiv 1509.09308; Barabasz et al., arXiv 1803.10986.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE, POINTS = 4, 6
FINITE_POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)
BLOCK = 12288
"""Tiles times channels computed at a time: about 10 MB, so that each step finds its input in a cache."""
LEAST_CHANNELS = 32
"""Least number of channels: with fewer, the transforms cost more than the products that they save."""


def transforms() -> tuple[Tensor, Tensor, Tensor]:
    """A^T [4, 6], G [6, 3] and B^T [6, 6] in float64 (Toom-Cook)."""
    output, kernel, data = (torch.zeros(*s, dtype=torch.float64) for s in ((4, 6), (6, 3), (6, 6)))
    for j, point in enumerate(FINITE_POINTS):
        others = [other for other in FINITE_POINTS if other != point]
        factor = 1.0
        for other in others:
            factor /= point - other
        kernel[j] = torch.tensor([factor * point**k for k in range(3)])
        output[:, j] = torch.tensor([point**m for m in range(4)])
        data[j, :5] = _polynomial(others)
    kernel[5, 2] = output[3, 5] = 1
    data[5] = _polynomial(FINITE_POINTS)
    return output, kernel, data


class WinogradConv3d(nn.Module):
    """A 3^3 convolution with padding 1: x [N, inputs, D, H, W] float32 -> [N, outputs, D, H, W], any grid.

    It keeps 8 times the weight's memory.

    Args:
        weight: [outputs, inputs, 3, 3, 3].
        bias: [outputs] or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        output, kernel, data = transforms()
        outputs, inputs = weight.shape[:2]
        taps = weight.detach().double().reshape(outputs * inputs, 27).T
        cube = torch.kron(torch.kron(kernel, kernel), kernel)
        self.register_buffer("weights", (cube @ taps).float().view(POINTS**3, outputs, inputs))
        self.register_buffer("bias", None if bias is None else bias.detach())
        for name, matrix in (("data", data), ("output", output)):
            self.register_buffer(f"{name}_line", matrix.float())
            self.register_buffer(f"{name}_plane", torch.kron(matrix, matrix).float())
        self.weights: Tensor
        self.bias: Tensor | None
        self.data_line: Tensor
        self.data_plane: Tensor
        self.output_line: Tensor
        self.output_plane: Tensor

    def forward(self, x: Tensor) -> Tensor:
        grid = x.shape[2:]
        tiles = [-(-side // TILE) for side in grid]
        pads = [p for side, count in zip(grid[::-1], tiles[::-1], strict=True) for p in (1, TILE * count + 1 - side)]
        outputs = self.weights.shape[1]
        y = x.new_empty(len(x), outputs, *(TILE * count for count in tiles))
        rows = max(1, BLOCK // (x.shape[1] * tiles[2]))
        for window, out in zip(F.pad(x, pads), y, strict=True):
            for z in range(0, TILE * tiles[0], TILE):
                for row in range(0, tiles[1], rows):
                    end = min(row + rows, tiles[1])
                    part = window[:, z : z + POINTS, TILE * row : TILE * end + 2]
                    self._block(part, out[:, z : z + TILE, TILE * row : TILE * end])
        y = y[..., : grid[0], : grid[1], : grid[2]]
        return y.contiguous() if self.bias is None else y + self.bias[:, None, None, None]

    def _block(self, x: Tensor, y: Tensor) -> None:
        """One layer of tiles: x [inputs, 6, 4 rows + 2, 4 columns + 2] -> y [outputs, 4, 4 rows, 4 columns]."""
        outputs, inputs = self.weights.shape[1:]
        tiles = x.unfold(2, POINTS, TILE).unfold(3, POINTS, TILE)  # [inputs, 6, rows, columns, 6, 6]
        rows, columns = tiles.shape[2:4]
        d = tiles.permute(1, 4, 5, 0, 2, 3).reshape(POINTS, POINTS**2, -1)
        v = self.data_line @ torch.matmul(self.data_plane, d).view(POINTS, -1)
        m = torch.bmm(self.weights, v.view(POINTS**3, inputs, rows * columns))
        o = self.output_line @ torch.matmul(self.output_plane, m.view(POINTS, POINTS**2, -1)).view(POINTS, -1)
        o = o.view(TILE, TILE, TILE, outputs, rows, columns)
        y.view(outputs, TILE, rows, TILE, columns, TILE).copy_(o.permute(3, 0, 4, 1, 5, 2))


def use_winograd(module: nn.Module) -> nn.Module:
    """Replace every 3^3 convolution that becomes faster, in place."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv3d):
            dense = child.kernel_size == (3, 3, 3) and child.stride == (1, 1, 1)
            if dense and min(child.in_channels, child.out_channels) >= LEAST_CHANNELS:
                setattr(module, name, WinogradConv3d(child.weight, child.bias))
        else:
            use_winograd(child)
    return module


def _polynomial(roots: tuple[float, ...] | list[float]) -> Tensor:
    """Coefficients of prod(x - root), lowest power first, float64."""
    coefficients = torch.ones(1, dtype=torch.float64)
    for root in roots:
        coefficients = F.pad(coefficients, (1, 0)) - root * F.pad(coefficients, (0, 1))
    return coefficients

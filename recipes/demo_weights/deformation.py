"""Random smooth deformations of volumes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Size = tuple[int, int, int]

_COARSE_STEP_MM, _COARSE_SHIFT_MM = 54.0, 9.0
_FINE_STEP_MM, _FINE_SHIFT_MM = 21.0, 2.0
"""Distance of the nodes of the elastic part and standard deviation of their displacement."""


def random_grid(
    shape: Size, spacing_mm: float, new_spacing_mm: float, rng: np.random.Generator, strength: float
) -> Tensor:
    """Where each voxel of a deformed volume comes from.

    Args:
        shape, spacing_mm: of the original volume.
        new_spacing_mm: of the deformed volume, which covers the same extent.
        rng: draws the deformation.
        strength: 0 for none, 1 for strong: rotations of about 8 degrees, sizes 12 % up or down, shifts of centimetres.

    Returns:
        Places in voxels of the original, float32 [X, Y, Z, 3].
    """
    step = new_spacing_mm / spacing_mm
    x, y, z = (max(2, round(n / step)) for n in shape)
    centre = (torch.tensor(shape, dtype=torch.float32) - 1) / 2
    axes = [(torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * step for n in (x, y, z)]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    grid = place @ _linear_map(rng, strength).T + centre
    grid += torch.from_numpy(rng.normal(0, 9 / spacing_mm * strength, 3).astype(np.float32))
    for step_mm, shift_mm in ((_COARSE_STEP_MM, _COARSE_SHIFT_MM), (_FINE_STEP_MM, _FINE_SHIFT_MM)):
        for axis in range(3):
            noise = smooth_noise((x, y, z), max(1, round(step_mm / new_spacing_mm)), rng)
            grid[..., axis] += strength * shift_mm / spacing_mm * noise
    return grid


def smooth_noise(shape: Size, step: int, rng: np.random.Generator) -> Tensor:
    """Noise [X, Y, Z] float32 with nodes `step` voxels apart and a standard deviation of about 1 at the nodes."""
    nodes = tuple(n // step + 2 for n in shape)
    noise = torch.from_numpy(rng.standard_normal(nodes, dtype=np.float32))[None, None]
    fine = F.interpolate(noise, size=shape, mode="trilinear", align_corners=True)
    half = step // 4
    for axis in range(3):
        size, pad = [1, 1, 1], [0, 0, 0]
        size[axis], pad[axis] = 2 * half + 1, half
        fine = F.avg_pool3d(fine, size, stride=1, padding=pad, count_include_pad=False)
    return fine[0, 0]


def sample(volume: NDArray, grid: Tensor, mode: str) -> Tensor:
    """Values of a volume at the places of a grid, float32; outside, those of the border. mode: bilinear or nearest."""
    size = torch.tensor(volume.shape, dtype=torch.float32)
    scaled = (grid / (size - 1) * 2 - 1).flip(-1)
    source = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]
    return F.grid_sample(source, scaled[None], mode=mode, padding_mode="border", align_corners=True)[0, 0]


def _linear_map(rng: np.random.Generator, strength: float) -> Tensor:
    x, y, z = np.deg2rad(rng.normal(0, 8 * strength, 3))
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    shear = np.eye(3) + np.triu(rng.normal(0, 0.06 * strength, (3, 3)), 1)
    size = np.exp(rng.normal(0, 0.08 * strength) + rng.normal(0, 0.08 * strength, 3))
    return torch.from_numpy((rx @ ry @ rz @ shear @ np.diag(size)).astype(np.float32))

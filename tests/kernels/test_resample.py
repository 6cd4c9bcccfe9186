"""Resampling on the device: the kernel, interpreted, against the package's own resampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from umlite.kernels.resample import resample_hu, resample_hu_ref, rows_of

SHAPE = (13, 7, 17)
HU = (-175.0, 250.0)


def scaled(*factors: float, offset: float = 0.0) -> np.ndarray:
    """An axis-by-axis map; a negative factor counts from the source's other end."""
    matrix = np.diag([*factors, 1.0])
    matrix[:3, 3] = [offset if factor > 0 else size - 1 - offset for factor, size in zip(factors, SHAPE, strict=True)]
    return matrix


def oblique() -> np.ndarray:
    """Rotated, sheared and shifted: every axis mixes, and corners of the target leave the source."""
    matrix = np.eye(4)
    matrix[:3, :3] = [[0.7, -0.21, 0.13], [0.19, 0.81, -0.3], [-0.1, 0.17, 0.6]]
    matrix[:3, 3] = [1.3, -2.1, 2.7]
    return matrix


NEARLY_STRAIGHT = scaled(0.5, 0.7, 1.1)
NEARLY_STRAIGHT[0, 1] = 2e-6  # as an affine stored in float32 has: mixed by less than 1e-4 voxels over the target
MAPS = {
    "identity": (np.eye(4), SHAPE),
    "finer": (scaled(0.61, 0.83, 0.47), (20, 7, 35)),
    "coarser, flipped": (scaled(-1.7, 2.3, -1.9), (8, 3, 9)),
    "beyond the border": (scaled(1.0, 1.0, 1.0, offset=-2.3), (17, 11, 19)),
    "nearly straight": (NEARLY_STRAIGHT, (16, 5, 32)),
    "oblique": (oblique(), (17, 7, 33)),
    "one voxel": (scaled(1.0, 1.0, 1.0, offset=5.4), (1, 1, 1)),
}
EVERY_MAP = pytest.mark.parametrize(("to_source", "shape"), MAPS.values(), ids=MAPS)


@EVERY_MAP
@pytest.mark.parametrize("dtype", [torch.float32, torch.int16], ids=["float32, last axis contiguous", "int16, first"])
def test_intensities_interpreted(dtype: torch.dtype, to_source: np.ndarray, shape: tuple[int, int, int]) -> None:
    pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")
    from support.gpu.canaries import Guarded
    from support.gpu.interpreter import interpreted
    from umlite.kernels.triton.resample import launch_resample_hu

    torch.manual_seed(0)
    volume = torch.empty(SHAPE).uniform_(-1000, 1500)
    if dtype == torch.int16:
        volume = volume.to(dtype).permute(2, 1, 0).contiguous().permute(2, 1, 0)
    out = Guarded(*shape)
    with interpreted():
        launch_resample_hu(volume, to_source, *HU, out.tensor)
    expected = resample_hu_ref(volume, rows_of(to_source), shape, *HU)
    torch.testing.assert_close(out.check(), expected, atol=3e-6, rtol=0)  # 2500 HU of range by 425, times 4 roundings


def test_the_volume_itself_is_never_returned() -> None:
    volume = torch.rand(5, 6, 7)
    found = resample_hu(volume, rows_of(np.eye(4)), (5, 6, 7), 0.0, 1.0)
    assert torch.equal(found, volume)
    assert found.data_ptr() != volume.data_ptr()


@pytest.mark.parametrize("to_source", [scaled(0.5, 0.7, 0.9), oblique()], ids=["straight", "oblique"])
def test_is_one_node_of_a_compiled_graph(to_source: np.ndarray) -> None:
    rows, shape = rows_of(to_source), [7, 5, 3]
    volume = torch.rand(SHAPE)
    torch.library.opcheck(resample_hu, (volume, rows, shape, *HU))
    compiled = torch.compile(lambda x: resample_hu(x, rows, shape, *HU), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(volume), resample_hu(volume, rows, shape, *HU))

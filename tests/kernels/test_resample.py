"""Resampling on the device: the kernels, interpreted, against the package's own resampling, both ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from umlite.kernels.resample import resample_bits, resample_bits_ref, resample_hu, resample_hu_ref, rows_of

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


@EVERY_MAP
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_bits_interpreted(dtype: torch.dtype, to_source: np.ndarray, shape: tuple[int, int, int]) -> None:
    pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")
    from support.gpu.canaries import Guarded
    from support.gpu.interpreter import interpreted
    from umlite.kernels.triton.resample import launch_resample_bits

    torch.manual_seed(0)
    start, part = (2, 1, 3), (9, 5, 11)
    limits = torch.iinfo(dtype)
    bits = torch.randint(limits.min, limits.max, part, dtype=dtype)
    out = Guarded(*shape, dtype=dtype, strides=(1, shape[0], shape[0] * shape[1]))
    with interpreted():
        launch_resample_bits(bits, to_source, SHAPE, start, out.tensor)
    assert torch.equal(out.check(), resample_bits_ref(bits, rows_of(to_source), shape, SHAPE, start))


def test_exact_ties_go_to_the_higher_index() -> None:
    """Half way between voxels, give or take rounding: the kernel, interpreted, decides as the reference does."""
    pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")
    from support.gpu.interpreter import interpreted
    from umlite.kernels.triton.resample import launch_resample_bits

    bits = torch.arange(13 * 7 * 17, dtype=torch.int32).reshape(SHAPE)
    for noise in (0.0, 1e-9, -1e-9):
        to_source = scaled(0.5, 0.5, 0.25, offset=noise)
        out = torch.empty(16, 3, 32, dtype=torch.int32)
        with interpreted():
            launch_resample_bits(bits, to_source, SHAPE, (0, 0, 0), out)
        assert torch.equal(out, resample_bits_ref(bits, rows_of(to_source), out.shape, SHAPE, (0, 0, 0)))
        assert out[1, 0, 0] == bits[1, 0, 0]


def test_the_volume_itself_is_never_returned() -> None:
    volume = torch.rand(5, 6, 7)
    found = resample_hu(volume, rows_of(np.eye(4)), (5, 6, 7), 0.0, 1.0)
    assert torch.equal(found, volume)
    assert found.data_ptr() != volume.data_ptr()


@pytest.mark.parametrize("to_source", [scaled(0.5, 0.7, 0.9), oblique()], ids=["straight", "oblique"])
def test_are_one_node_each_of_a_compiled_graph(to_source: np.ndarray) -> None:
    rows, shape = rows_of(to_source), [7, 5, 3]
    volume, bits = torch.rand(SHAPE), torch.randint(0, 9, SHAPE, dtype=torch.int32)
    torch.library.opcheck(resample_hu, (volume, rows, shape, *HU))
    torch.library.opcheck(resample_bits, (bits, rows, shape, list(SHAPE), [0, 0, 0]))

    def both(volume: torch.Tensor, bits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return resample_hu(volume, rows, shape, *HU), resample_bits(bits, rows, shape, SHAPE, (0, 0, 0))

    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    for found, expected in zip(compiled(volume, bits), both(volume, bits), strict=True):
        assert torch.equal(found, expected)

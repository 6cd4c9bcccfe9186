"""Windows out of a scan: the kernel, interpreted, copies exactly, wherever windows start and however the scan lies."""

from __future__ import annotations

import pytest
import torch

from umlite.kernels.gather import gather_windows, gather_windows_ref


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("window", [(3, 5, 7), (8, 16, 8), (11, 10, 13)])
def test_kernel_interpreted(dtype: torch.dtype, window: tuple[int, int, int]) -> None:
    pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")
    from support.gpu.canaries import Guarded
    from support.gpu.interpreter import interpreted
    from umlite.kernels.triton.gather import launch_gather

    torch.manual_seed(0)
    volume = torch.rand(27, 28, 29).permute(2, 0, 1)
    room = torch.tensor(volume.shape) - torch.tensor(window)
    everywhere = [room.clamp_max(k) for k in range(1, 4)]
    alignments = [torch.tensor([0, 0, z]) for z in range(min(16, int(room[2]) + 1))]
    starts = torch.stack([torch.zeros(3, dtype=torch.int64), room, *everywhere, *alignments])
    windows = Guarded(len(starts), 1, *window, dtype=dtype)
    with interpreted():
        launch_gather(volume, starts, windows.tensor)
    assert torch.equal(windows.check(), gather_windows_ref(volume, starts, window, dtype))


def test_is_one_node_of_a_compiled_graph() -> None:
    starts = torch.tensor([[0, 1, 2], [3, 2, 1]])
    arguments = (torch.rand(8, 9, 10), starts, [4, 5, 6], torch.float16)
    torch.library.opcheck(gather_windows, arguments)
    compiled = torch.compile(gather_windows, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*arguments), gather_windows_ref(*arguments))

"""Networks on CUDA tensors without numbers: a mixed device or dtype anywhere raises."""

from __future__ import annotations

import pytest
import torch

from support.paper_cuda import paper_cuda
from umlite.kernels.implementations import FAST
from umlite.models.config import HeadConfig, NetworkConfig, SegResNetConfig, SwinUNETRConfig, UNetConfig
from umlite.models.universal import UniversalModel

NETWORKS = [
    NetworkConfig(UNetConfig((16, 32, 64, 128)), HeadConfig(4, groups=4)),
    NetworkConfig(SwinUNETRConfig(feature_size=12), HeadConfig(4, groups=4)),
    NetworkConfig(SegResNetConfig(), HeadConfig.linear(4, 16)),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.backbone.kind)
def test_the_fast_network_stays_on_its_device(network: NetworkConfig, dtype: torch.dtype) -> None:
    with paper_cuda(), torch.inference_mode():
        with torch.device("meta"):
            model = UniversalModel(network, FAST)
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        tensors = {name: torch.empty(shape, device="cuda", dtype=dtype) for name, shape in shapes.items()}
        model.load_state_dict(tensors, assign=True)
        windows = torch.empty(2, 1, 64, 64, 64, device="cuda", dtype=dtype)
        head_input, image = model.features(windows)
        logits = model.kernels.dynamic_heads(head_input, model.generator.fold([0, 2])(image))
    assert logits.device.type == "cuda"
    assert logits.dtype == dtype
    assert logits.shape == (2, 2, 64, 64, 64)


def test_paper_cuda_notices_a_mixed_device() -> None:
    with paper_cuda(), pytest.raises(RuntimeError):
        torch.empty(3, device="cuda") + torch.empty(3)

"""The only place where tensors cross between the host and a GPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """A copy of a host tensor on `device`, queued: pinned memory lets the copy run beside computation."""
    if device.type != "cuda" or x.device == device:
        return x.to(device)
    return x.contiguous().pin_memory().to(device, non_blocking=True)


def to_host(x: Tensor) -> Tensor:
    """A copy of a device tensor on the host, complete when this returns."""
    return x.cpu()


def module_to_device(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with all its tensors on `device`."""
    return module.to(device)

"""Float32 that is float32: TF32 is off inside, whichever of torch's names turned it on, and back afterwards."""

from __future__ import annotations

import multiprocessing

import pytest
import torch

from umlite.gpu.features import wide_sums

SETTINGS = [
    "pass",
    "torch.set_float32_matmul_precision('high')",
    "torch.set_float32_matmul_precision('medium')",
    "torch.backends.cudnn.allow_tf32 = False",
    "torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = True",
    "torch.backends.fp32_precision = 'tf32'",
    "torch.backends.fp32_precision = 'ieee'",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
]


def now() -> tuple[object, ...]:
    """By all names; reading an old one raises where it contradicts a new one."""
    matmul, cudnn, mkldnn = torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.mkldnn
    found: list[object] = []
    for read in (torch.get_float32_matmul_precision, lambda: cudnn.allow_tf32, lambda: matmul.allow_tf32):
        try:
            found.append(read())
        except RuntimeError:
            found.append("raises")
    places = matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv
    return *found, *(place.fp32_precision for place in places), cudnn.benchmark, cudnn.deterministic


def look(setting: str) -> None:
    exec(setting)
    before = now()
    with wide_sums():
        assert now()[:-2] == ("highest", False, False, *5 * ("ieee",)), now()
        assert now()[-2:] == before[-2:], "other settings are the caller's"
    assert now() == before, (now(), before)


@pytest.mark.parametrize("setting", SETTINGS)
def test_whatever_was_set(setting: str) -> None:
    """In a process of its own: not every combination can be taken back."""
    process = multiprocessing.get_context("fork").Process(target=look, args=(setting,))
    process.start()
    process.join()
    assert process.exitcode == 0

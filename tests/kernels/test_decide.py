"""The decision: exactly positive sums, all classes' bits, broken sums named; the kernel, interpreted, bit for bit."""

from __future__ import annotations

import pytest
import torch

from umlite.errors import WeightsError
from umlite.kernels.decide import decide, decide_bits, decide_bits_ref

SHAPES = [(1, 1, 1), (7, 11, 13), (8, 8, 16)]


def sums_of(classes: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Sums with zeros of both signs and the smallest numbers among them."""
    torch.manual_seed(0)
    special = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0])
    return special[torch.randint(0, 6, (classes, *shape))]


@pytest.mark.parametrize("classes", [1, 32, 33, 64])
def test_bits_by_definition(classes: int) -> None:
    sums = sums_of(classes, (3, 4, 5))
    bits = decide(sums, [f"class {k}" for k in range(classes)])
    assert bits.dtype == (torch.int32 if classes <= 32 else torch.int64)
    for k in range(classes):
        assert torch.equal((bits >> k) & 1 == 1, sums[k] > 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("broken", [0, 31, 63])
def test_broken_sum_is_named(broken: int, value: float) -> None:
    sums = torch.zeros(64, 2, 3, 4)
    sums[broken, 1, 2, 3] = value
    with pytest.raises(WeightsError, match=f"class {broken}:"):
        decide(sums, [f"class {k}" for k in range(64)])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("classes", [1, 32, 40])
@pytest.mark.parametrize("broken", [False, True])
def test_kernel_interpreted(broken: bool, classes: int, shape: tuple[int, int, int]) -> None:
    pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")
    from support.gpu.canaries import Guarded
    from support.gpu.interpreter import interpreted
    from umlite.kernels.triton.decide import launch_decide

    sums = sums_of(classes, shape).permute(0, 3, 1, 2)
    if broken:
        sums[classes - 1, -1, -1, -1] = float("nan")
        sums[0, 0, 0, 0] = -float("inf")
    expected, expected_word = decide_bits_ref(sums)
    bits = Guarded(*sums.shape[1:], dtype=expected.dtype)
    word = torch.zeros((), dtype=expected.dtype)
    with interpreted():
        launch_decide(sums, bits.tensor, word)
    assert torch.equal(bits.check(), expected)
    assert torch.equal(word, expected_word)
    assert bool(word) == broken


@pytest.mark.parametrize("classes", [2, 40])
def test_is_one_node_of_a_compiled_graph(classes: int) -> None:
    sums = torch.randn(classes, 3, 4, 5)
    torch.library.opcheck(decide_bits, (sums,))
    compiled = torch.compile(decide_bits, fullgraph=True, backend="aot_eager")
    for found, expected in zip(compiled(sums), decide_bits_ref(sums), strict=True):
        assert torch.equal(found, expected)


def test_sums_that_overflow_only_together_are_not_broken() -> None:
    bits, broken = decide_bits(torch.full((2, 3, 4, 5), 3e38))
    assert bits.eq(3).all()
    assert not broken


def test_more_than_32_classes_get_wider_integers() -> None:
    names = tuple(f"c{i}" for i in range(40))
    sums = torch.zeros(40, 2, 1, 1)
    sums[[31, 32, 39], 0] = 1.0
    bits = decide(sums, names)
    assert bits.dtype == torch.int64
    assert bits.flatten().tolist() == [2**31 + 2**32 + 2**39, 0]


def test_a_part_of_a_buffer() -> None:
    sums = torch.randn(3, 7, 8, 9)
    assert torch.equal(decide(sums[:, 2:5, :, 1:4], "abc"), decide(sums, "abc")[2:5, :, 1:4])


def test_exactly_zero_is_not_present() -> None:
    sums = torch.tensor([0.0, 1e-30, -1e-30, -0.0]).view(1, 4, 1, 1)
    assert decide(sums, ("a",)).flatten().tolist() == [0, 1, 0, 0]

"""The choice of algorithms: exact enough, small enough, the same for any number of threads."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from umlite.cpu.algorithms import F23, F42, F43, Shape, choose, layer_rows
from umlite.machine.processor import Machine

MACHINE = Machine(2, 512 << 10, 32 << 20)

shapes = st.builds(
    Shape,
    st.just("layer"),
    st.tuples(*[st.integers(1, 100)] * 3),
    st.integers(1, 800),
    st.integers(1, 800),
    st.sampled_from([1, 3]),
) | st.builds(
    Shape,
    st.just("layer"),
    st.tuples(*[st.integers(1, 50)] * 3),
    st.integers(1, 800),
    st.integers(1, 800),
    st.sampled_from([1, 2]),
    st.just(True),
)


@given(shapes, st.integers(1, 64))
def test_every_layer_has_a_plan(shape: Shape, threads: int) -> None:
    choice = choose(shape, replace(MACHINE, threads=threads))
    assert choice.algorithm == choose(shape, MACHINE).algorithm
    assert choice.algorithm.taps == shape.taps
    assert choice.block >= 1
    assert choice.weight_bytes > 0


def test_large_grids_get_large_tiles_and_tiny_ones_do_not() -> None:
    assert choose(Shape("a", (96, 96, 96), 64, 64, 3), MACHINE).algorithm == F43
    assert choose(Shape("a", (48, 48, 48), 128, 64, 2, up=True), MACHINE).algorithm == F42
    tiny = choose(Shape("a", (3, 3, 3), 768, 768, 3), MACHINE)
    assert tiny.algorithm.library == "direct"


def test_a_large_second_cache_gets_larger_blocks_of_layers_with_many_tiles() -> None:
    large = replace(MACHINE, l2_bytes=1 << 20)
    for side, inputs, expected in ((96, 64, 24), (96, 32, 12), (24, 64, 12)):
        shape = Shape("a", (side,) * 3, inputs, 64, 3)
        assert choose(shape, MACHINE).block == 12
        assert choose(shape, large).block == expected


def test_gate_and_weight_limit() -> None:
    shape = Shape("a", (24, 24, 24), 256, 256, 3)
    assert choose(shape, MACHINE).algorithm == F43
    assert choose(shape, MACHINE, error_gate=1e-6).algorithm == F23
    assert choose(shape, MACHINE, weight_limit_bytes=20 << 20).algorithm == F23


def test_a_pooled_layer_is_never_direct() -> None:
    shape = Shape("a", (2, 2, 2), 512, 512, 3, pool=True)
    assert choose(shape, MACHINE).algorithm.library == "winograd"


def test_table() -> None:
    (row,) = layer_rows([choose(Shape("down_tr64.1", (96, 96, 96), 32, 64, 3, pool=True), MACHINE)])
    assert (row["layer"], row["grid"], row["channels"]) == ("down_tr64.1", "96x96x96", "32 -> 64")
    assert (row["algorithm"], row["weights MB"]) == ("F(4,3)", "1.8")

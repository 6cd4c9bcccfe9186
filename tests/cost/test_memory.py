"""Memory of a run, counted from shapes alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from umlite.cost.memory import ADAPTIVE, RunShapes, SumsLayout, added_bytes, peak_bytes, step_bytes, vram_bytes
from umlite.models.config import HeadConfig

WINDOW = (96, 96, 96)


def shapes(length: int, hu_bytes: int = 2, volume: tuple[int, int, int] | None = None) -> RunShapes:
    scan = (300, 250, length)
    return RunShapes(scan, hu_bytes, 2, scan, volume or scan, WINDOW)


def test_sums_do_not_grow_with_the_length() -> None:
    slab = 4 * 300 * 250 * 96
    for length in (400, 800):
        more, fewer = (step_bytes(shapes(length), classes)["windows"] for classes in (32, 31))
        assert more - fewer == slab


def test_what_grows_is_the_scan_and_the_bits() -> None:
    one, two = (step_bytes(shapes(length), 32) for length in (400, 800))
    voxels = 300 * 250 * 400
    assert two["write"] - one["write"] == (2 + 4) * voxels
    assert two["windows"] - one["windows"] == (2 + 4 + 4) * voxels


def test_a_scan_that_stays_in_its_file_takes_nothing() -> None:
    model = (150, 125, 200)
    one, two = (RunShapes((300, 250, n), 0, 0, (150, 125, n // 2), model, WINDOW) for n in (400, 800))
    held = replace(one, hu_bytes=2, stored_bytes=2)
    scan = 300 * 250 * 400 * 2
    for step, size in step_bytes(held, 32).items():
        assert size - step_bytes(one, 32)[step] == scan, step
    assert step_bytes(one, 32)["read"] == 0
    growth = {step: size - step_bytes(one, 32)[step] for step, size in step_bytes(two, 32).items()}
    assert {step for step, size in growth.items() if size} == {"prepare"}
    assert growth["prepare"] == 4 * 150 * 125 * 200


def test_bits_take_eight_bytes_beyond_32_classes() -> None:
    assert step_bytes(shapes(400), 33)["write"] - step_bytes(shapes(400), 32)["write"] == 4 * 300 * 250 * 400


def test_every_64_classes_take_eight_bytes() -> None:
    voxels = 300 * 250 * 400
    bits = {
        classes: step_bytes(shapes(400), classes)["write"] - step_bytes(shapes(400), 32)["write"]
        for classes in (64, 65, 200)
    }
    assert bits == {64: 4 * voxels, 65: 8 * voxels, 200: (3 * 8 + 4 - 4) * voxels}


def test_added_classes_take_their_controllers_twice_where_they_are_asked_for() -> None:
    head = HeadConfig(32, added=200)
    assert added_bytes(head, 0) == 200 * 153 * 257 * 4
    assert added_bytes(head, 50) == 250 * 153 * 257 * 4
    assert added_bytes(HeadConfig(32), 0) == 0


def test_scaled_scans_are_held_twice_while_they_are_read() -> None:
    voxels = 300 * 250 * 400
    assert step_bytes(shapes(400, hu_bytes=4), 1)["read"] == 6 * voxels
    assert step_bytes(shapes(400), 1)["read"] == 2 * voxels


def test_a_small_volume_is_padded() -> None:
    small = shapes(400, volume=(10, 20, 30))
    assert small.padded == WINDOW
    assert small.slab() == 96**3
    assert step_bytes(small, 4)["windows"] > 4 * 4 * 96**3


@pytest.mark.parametrize("on_host", [True, False])
def test_the_peak_is_of_the_fullest_step(on_host: bool) -> None:
    layout = SumsLayout(on_host=on_host)
    found = peak_bytes(1000, 10, shapes(400), 20, layout)
    assert found == 1200 + max(step_bytes(shapes(400), 20, layout).values())


def test_a_kept_answer_and_thicker_sums_count() -> None:
    plain = step_bytes(shapes(400), 20)["windows"]
    assert step_bytes(shapes(400), 20, SumsLayout(reused=True))["windows"] - plain == 4 * 20 * 96**3
    assert step_bytes(shapes(400), 20, ADAPTIVE)["windows"] - plain == 4 * 300 * 250 * (21 * 240 - 20 * 96)
    assert shapes(400).slab(9.0) == 300 * 250 * 400


def test_a_gpu_holds_the_volume_and_its_sums() -> None:
    most, least = vram_bytes(500, shapes(400), 3)
    assert least == 500 + 4 * 300 * 250 * 400
    assert most - least == 3 * 4 * 300 * 250 * 96
    assert vram_bytes(500, shapes(50), 3)[1] == 500 + 4 * 300 * 250 * (50 + 96), "the volume itself beside the padded"

"""Classes in parts give the masks of all at once, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from umlite import Segmenter
from umlite.errors import RequestError
from umlite.request import Request


@pytest.mark.parametrize("kernels", ["native", "torch"])
@pytest.mark.parametrize(
    ("classes", "parts"), [(None, 4), ("liver,pancreas_tumor,spleen", 2), ("liver,colon_tumor", 5)]
)
def test_the_same_masks(small_weights: Path, scan_file: Path, kernels: str, classes: str | None, parts: int) -> None:
    segmenter = Segmenter(small_weights, device="cpu", kernels=kernels)
    request = Request.of(classes, details=True)
    prepared, steps = segmenter.prepare(scan_file), list[tuple[int, int]]()
    whole = segmenter.decide(prepared, request)
    parted = segmenter.decide(prepared, request, progress=lambda *step: steps.append(step), parts=parts)
    assert parted.bits.names == whole.bits.names
    for a, b in zip(parted.bits.words, whole.bits.words, strict=True):
        np.testing.assert_array_equal(a, b)
    count = min(parts, len(whole.bits.names))
    assert parted.windows.total == count * whole.windows.total
    assert steps == sorted(steps)
    assert steps[-1] == (parted.windows.total, parted.windows.total)
    one, other = segmenter.finish(whole), segmenter.finish(parted)
    assert other.notes == (f"Memory was short: the classes were computed in {parts} parts.", *one.notes)
    for name in whole.lesion_logits.names if whole.lesion_logits else ():
        places = np.argwhere(whole.bits.mask(name))
        assert len(places)
        np.testing.assert_array_equal(parted.lesion_logits.at(name, places), whole.lesion_logits.at(name, places))


@pytest.mark.parametrize("change", [{"windows": "adaptive"}, {"probabilities": True}, {"surfaces": True}])
def test_what_needs_all_classes_at_once(small_weights: Path, scan_file: Path, change: dict) -> None:
    segmenter = Segmenter(small_weights, device="cpu")
    with pytest.raises(RequestError, match="leave the parts out"):
        segmenter.decide(segmenter.prepare(scan_file), Request(**change), parts=2)

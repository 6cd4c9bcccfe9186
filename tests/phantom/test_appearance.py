from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from umlite.phantom import draw_spec
from umlite.phantom.appearance import LEAST_DIFFERENCE_HU, LESION_HU, lesion_difference_hu
from umlite.phantom.spec import PHASES, STYLES, LesionSpec


@pytest.mark.parametrize(("kind", "phase"), [*product(LESION_HU, PHASES)])
def test_every_lesion_differs_from_its_host(kind: str, phase: str) -> None:
    spec = replace(draw_spec(1), phase=phase)
    for style, contrast in product(STYLES, (0.6, 1.0, 1.3)):
        lesion = LesionSpec(kind, 20.0, contrast, style)
        assert abs(lesion_difference_hu(spec, lesion)) >= LEAST_DIFFERENCE_HU


def test_a_lesion_stands_out_from_noise() -> None:
    spec = replace(draw_spec(1), phase="native", noise_hu=33.0)
    assert lesion_difference_hu(spec, LesionSpec("kidney_tumor", 20.0, 1.0, "faint")) == 33
    assert lesion_difference_hu(spec, LesionSpec("liver_tumor", 20.0, 1.0, "faint")) == -33


def test_only_a_hypervascular_liver_tumour_is_brighter_than_an_arterial_liver() -> None:
    spec = replace(draw_spec(1), phase="arterial", enhancement=1.0, noise_hu=10.0)
    assert lesion_difference_hu(spec, LesionSpec("liver_tumor", 20.0, 1.2, "solid")) == pytest.approx(54)
    assert lesion_difference_hu(spec, LesionSpec("liver_tumor", 20.0, 0.9, "solid")) == -LEAST_DIFFERENCE_HU


def test_a_strong_difference_stays_as_it_is() -> None:
    spec = replace(draw_spec(1), phase="portal_venous")
    assert lesion_difference_hu(spec, LesionSpec("kidney_tumor", 20.0, 1.1, "solid")) == pytest.approx(-93.5)

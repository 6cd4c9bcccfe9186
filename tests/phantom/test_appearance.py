from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from umlite.phantom import draw_spec
from umlite.phantom.appearance import LEAST_DIFFERENCE_HU, LESION_HU, viable_tumour_hu
from umlite.phantom.spec import PHASES, STYLES, LesionSpec


@pytest.mark.parametrize(("kind", "phase"), [*product(LESION_HU, PHASES)])
@pytest.mark.parametrize("noise_hu", [8.0, 33.0])
def test_every_tumour_stands_out_from_all_tissues_of_its_host(kind: str, phase: str, noise_hu: float) -> None:
    spec = replace(draw_spec(1), phase=phase, noise_hu=noise_hu)
    for style, contrast, hosts in product(STYLES, (0.6, 1.0, 1.3), ((100.0,), (175.0, 62.0), (31.0, 33.0))):
        found = viable_tumour_hu(spec, LesionSpec(kind, 20.0, contrast, style), hosts)
        least = max(LEAST_DIFFERENCE_HU, noise_hu)
        assert found <= min(hosts) - least or found >= max(hosts) + least


def test_only_a_hypervascular_liver_tumour_is_brighter_than_an_arterial_liver() -> None:
    spec = replace(draw_spec(1), phase="arterial", enhancement=1.0, noise_hu=10.0)
    assert viable_tumour_hu(spec, LesionSpec("liver_tumor", 20.0, 1.2, "solid"), [70]) == pytest.approx(124)
    assert viable_tumour_hu(spec, LesionSpec("liver_tumor", 20.0, 0.9, "solid"), [70]) == 70 - LEAST_DIFFERENCE_HU


def test_a_strong_difference_stays_as_it_is() -> None:
    spec = replace(draw_spec(1), phase="portal_venous", noise_hu=10.0)
    lesion = LesionSpec("kidney_tumor", 20.0, 1.1, "solid")
    assert viable_tumour_hu(spec, lesion, [185, 160]) == pytest.approx(91.5)

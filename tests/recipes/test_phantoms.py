from __future__ import annotations

import numpy as np

from recipes.demo_weights.phantoms import PhantomSource
from umlite.phantom import draw_spec

NAMES = ("liver", "aorta")


def test_phantoms_are_native_as_often_as_asked() -> None:
    drawn, native = (PhantomSource(NAMES, (12.0,) * 3, native_share=share) for share in (0.0, 1.0))
    seed = next(s for s in range(100) if draw_spec(s).phase == "arterial" and draw_spec(s).field_of_view == "abdomen")
    before, after = (source.make(seed) for source in (drawn, native))
    assert np.array_equal(before.present, after.present)
    aorta = (before.present & 2) != 0
    assert np.median(before.hu[aorta]) > 150 > 70 > np.median(after.hu[aorta])


def test_phantoms_are_noisy_as_often_as_asked() -> None:
    drawn, noisy = (PhantomSource(NAMES, (12.0,) * 3, noisy_share=share) for share in (0.0, 1.0))
    seed = next(s for s in range(100) if draw_spec(s).noise_hu < 10 and draw_spec(s).field_of_view == "abdomen")
    before, after = (source.make(seed) for source in (drawn, noisy))
    liver = (before.present & 1) != 0
    assert np.array_equal(before.present, after.present)
    assert float((after.hu[liver] - before.hu[liver].astype(np.float32)).std()) > 20


def test_classes_that_phantoms_do_not_model_are_unknown_unless_known_to_be_absent() -> None:
    names = (*NAMES, "hepatic_vessel_tumor", "my_own_class")
    image = PhantomSource(names, (12.0,) * 3, absent=("hepatic_vessel_tumor",)).make(3)
    assert (image.known == 0b0111).all()

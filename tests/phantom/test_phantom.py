"""Whole phantoms: truth, geometry, anatomy and densities, on coarse grids."""

import dataclasses
from functools import cache

import nibabel as nib
import numpy as np
import pytest

from umlite.classes import PUBLISHED
from umlite.errors import RequestError
from umlite.phantom import MODELLED, LesionSpec, Phantom, PhantomSpec, draw_spec, make_phantom, render_phantom

SPACING_MM = (6.0, 5.0, 6.0)
SEEDS = (0, 1, 2)
VOLUMES_ML = {
    # adult reference ranges, a little widened for 6 mm voxels, for the drawn sizes and for lesions that bulge out
    "liver": (900, 2300),
    "spleen": (90, 420),
    "right_kidney": (75, 290),
    "left_kidney": (75, 290),
    "pancreas": (28, 140),
    "gallbladder": (10, 70),
    "stomach": (120, 750),
    "bladder": (45, 520),
    "right_lung": (1100, 3500),
    "left_lung": (1000, 3500),
    "colon": (200, 1300),
    "intestine": (180, 1000),
    "right_head_of_femur": (25, 95),
    "left_head_of_femur": (25, 95),
}
LESIONS = tuple(
    LesionSpec(kind, diameter, 1.0, "solid")
    for kind, diameter in (
        ("liver_tumor", 30.0),
        ("kidney_tumor", 28.0),
        ("kidney_cyst", 24.0),
        ("pancreas_tumor", 24.0),
        ("lung_tumor", 24.0),
        ("colon_tumor", 34.0),
    )
)


@cache
def whole(seed: int) -> Phantom:
    """A patient with every organ and one lesion of every kind, seen from the lung apices to the pelvic floor."""
    return render_phantom(whole_spec(seed), SPACING_MM)


def whole_spec(seed: int) -> PhantomSpec:
    spec = draw_spec(seed)
    return dataclasses.replace(spec, missing=(), lesions=LESIONS, z_range_mm=(-268.0, 315.0), metal="none")


def centre(phantom: Phantom, name: str) -> np.ndarray:
    """Centre of a mask in RAS mm."""
    index = np.argwhere(phantom.masks[name]).mean(axis=0)
    return phantom.affine[:3, :3] @ index + phantom.affine[:3, 3]


def core_hu(phantom: Phantom, name: str) -> float:
    return float(np.median(phantom.hu[phantom.masks[name]]))


def test_the_same_seed_gives_the_same_bytes():
    first, second = make_phantom(11, (7, 7, 7)), make_phantom(11, (7, 7, 7))
    assert first.hu.tobytes() == second.hu.tobytes()
    assert first.affine.tobytes() == second.affine.tobytes()
    assert all(first.masks[name].tobytes() == second.masks[name].tobytes() for name in MODELLED)
    assert first.spec == second.spec
    assert first.lesions == second.lesions


def test_another_seed_gives_another_phantom():
    first, second = make_phantom(11, (7, 7, 7)), make_phantom(12, (7, 7, 7))
    assert first.hu.shape != second.hu.shape or not np.array_equal(first.hu, second.hu)


def test_the_global_random_state_is_left_alone():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    make_phantom(5, (9, 9, 9))
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("spacing_mm", [(7.0, 7.0, 7.0), (8.0, 6.0, 5.0)])
def test_arrays_and_geometry(spacing_mm):
    phantom = make_phantom(4, spacing_mm)
    assert phantom.hu.dtype == np.float32
    assert phantom.hu.ndim == 3
    assert phantom.affine.dtype == np.float64
    np.testing.assert_array_equal(phantom.affine[:3, :3], np.diag(spacing_mm))
    assert tuple(phantom.masks) == MODELLED
    assert all(m.dtype == np.bool_ and m.shape == phantom.hu.shape for m in phantom.masks.values())
    image = phantom.image()
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asarray(image.dataobj), phantom.hu)


def test_names_are_published_ones():
    assert set(MODELLED) == {c.name for c in PUBLISHED} - {"hepatic_vessel_tumor"}


@pytest.mark.parametrize("spacing_mm", [(3, 3), (0, 3, 3), (3, -3, 3), (float("nan"), 3, 3), (99, 3, 3)])
def test_a_spacing_that_makes_no_sense_is_refused(spacing_mm):
    with pytest.raises(RequestError, match="a spacing of three numbers"):
        make_phantom(0, spacing_mm)


@pytest.mark.parametrize("seed", SEEDS)
def test_hounsfield_units_are_whole_and_in_bounds(seed):
    hu = whole(seed).hu
    assert hu.min() >= -1024
    assert hu.max() <= 3071
    np.testing.assert_array_equal(hu, np.round(hu))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_structure_shows_in_a_whole_patient(seed):
    phantom = whole(seed)
    assert set(MODELLED) - set(phantom.present) == set()


@pytest.mark.parametrize("seed", SEEDS)
def test_volumes_are_those_of_adults(seed):
    phantom = whole(seed)
    found = {name: phantom.volume_ml(name) for name in VOLUMES_ML}
    assert {n: v for n, v in found.items() if not VOLUMES_ML[n][0] <= v <= VOLUMES_ML[n][1]} == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_lesions_lie_in_their_hosts(seed):
    phantom = whole(seed)
    for c in PUBLISHED:
        if c.kind == "tumor" and c.name in MODELLED:
            host = np.any([phantom.masks[h] for h in c.hosts], axis=0)
            assert not (phantom.masks[c.name] & ~host).any(), c.name
    assert not (phantom.masks["hepatic_vessel"] & ~phantom.masks["liver"]).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_organs_do_not_overlap(seed):
    phantom = whole(seed)
    organs = [c.name for c in PUBLISHED if c.kind != "tumor" and c.name != "hepatic_vessel"]
    assert np.sum([phantom.masks[name] for name in organs], axis=0).max() == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_placed_lesions_are_reported(seed):
    phantom = whole(seed)
    for lesion in phantom.lesions:
        assert lesion.kind in phantom.present
        assert phantom.masks[lesion.host].any()
        index = np.linalg.solve(phantom.affine, [*lesion.centre_mm, 1])[:3].round().astype(int)
        assert (index >= 0).all()
        assert (index < phantom.hu.shape).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_right_is_right_and_up_is_up(seed):
    """World x grows to the patient's right, as in the RAS example scan, whose right kidney has the larger x."""
    c = {name: centre(whole(seed), name) for name in MODELLED}
    for organ in ("kidney", "lung", "adrenal_gland", "head_of_femur"):
        assert c[f"right_{organ}"][0] > c[f"left_{organ}"][0]
    assert c["liver"][0] > c["stomach"][0] > c["spleen"][0]
    assert c["postcava"][0] > c["aorta"][0]
    assert c["bladder"][1] > c["rectum"][1]
    assert c["pancreas"][1] > c["left_kidney"][1]
    assert c["right_lung"][2] > c["liver"][2] > c["right_kidney"][2] > c["bladder"][2]
    assert c["liver"][1] > c["spleen"][1]


@pytest.mark.parametrize("seed", SEEDS)
def test_organs_lie_in_the_body_and_air_around_it(seed):
    phantom = whole(seed)
    organs = np.any(list(phantom.masks.values()), axis=0)
    hollow = ("right_lung", "left_lung", "stomach", "colon", "intestine", "rectum", "esophagus", "duodenum")
    solid = np.any([phantom.masks[n] for n in MODELLED if n not in hollow], axis=0)
    assert not organs[[0, -1]].any()
    assert np.median(phantom.hu[solid]) > 0
    rows = phantom.hu[[0, -1], -1]
    assert np.median(rows) < -950


@pytest.mark.parametrize("seed", SEEDS)
def test_the_abdominal_aorta_has_an_adult_s_width(seed):
    spec = dataclasses.replace(whole_spec(seed), z_range_mm=(-20.0, 12.0), lesions=())
    phantom = render_phantom(spec, (2, 2, 4))
    diameter_mm = np.sqrt(4 / np.pi * 2 * 2 * phantom.masks["aorta"].sum(axis=(0, 1)))
    assert diameter_mm.min() > 14
    assert diameter_mm.max() < 31


def densities(phase: str) -> dict[str, float]:
    spec = dataclasses.replace(
        draw_spec(3),
        phase=phase,
        z_range_mm=(-60.0, 110.0),
        lesions=(),
        missing=(),
        enhancement=1.0,
        noise_hu=8.0,
        liver_fat_hu=0.0,
        metal="none",
        oral_contrast="none",
    )
    phantom = render_phantom(spec, (4.0, 4.0, 4.0))
    names = ("aorta", "postcava", "liver", "spleen", "right_kidney", "pancreas", "portal_vein_and_splenic_vein")
    return {n: core_hu(phantom, n) for n in names}


def test_phases_differ_as_in_reality():
    native, arterial, portal, late = (densities(p) for p in ("native", "arterial", "portal_venous", "late"))
    assert all(10 < v < 75 for v in native.values())
    assert arterial["aorta"] > 200
    assert arterial["aorta"] > arterial["portal_vein_and_splenic_vein"] + 80
    assert arterial["pancreas"] > arterial["liver"] + 15
    assert portal["liver"] > arterial["liver"] + 25 > native["liver"] + 25
    assert portal["portal_vein_and_splenic_vein"] > portal["liver"]
    assert 115 < portal["aorta"] < 200
    assert late["aorta"] < portal["aorta"]
    assert portal["right_kidney"] > portal["liver"]


@pytest.mark.parametrize("name", ["liver", "spleen", "right_kidney", "right_lung"])
def test_the_same_patient_at_another_spacing(name):
    fine, coarse = (render_phantom(whole_chest(8), (s, s, s)) for s in (3.0, 6.0))
    inverse = np.linalg.inv(coarse.affine) @ fine.affine
    axes = [np.rint(inverse[i, i] * np.arange(n) + inverse[i, 3]).astype(int) for i, n in enumerate(fine.hu.shape)]
    axes = [np.clip(axis, 0, n - 1) for axis, n in zip(axes, coarse.hu.shape, strict=True)]
    a, b = fine.masks[name], coarse.masks[name][np.ix_(*axes)]
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.87


@cache
def whole_chest(seed: int) -> PhantomSpec:
    return dataclasses.replace(draw_spec(seed), z_range_mm=(-45.0, 160.0), missing=(), lesions=())


def test_a_partial_field_of_view_shows_the_same_patient():
    """A crop in z moves no organ: both scans share the voxels that both cover."""
    spec = dataclasses.replace(whole_spec(2), lesions=())
    sz = spec.scale[2]
    wide = render_phantom(dataclasses.replace(spec, z_range_mm=(-120 / sz, 120 / sz)), (6, 6, 6))
    part = render_phantom(dataclasses.replace(spec, z_range_mm=(-60 / sz, 60 / sz)), (6, 6, 6))
    first = round((part.affine[2, 3] - wide.affine[2, 3]) / 6)
    for name in ("liver", "spleen", "left_kidney", "aorta", "pancreas", "colon"):
        np.testing.assert_array_equal(wide.masks[name][:, :, first : first + part.hu.shape[2]], part.masks[name])
    assert not part.masks["bladder"].any()
    assert not part.masks["left_head_of_femur"].any()


def test_missing_organs_are_missing():
    gone = ("gallbladder", "right_kidney", "spleen", "prostate")
    phantom = render_phantom(dataclasses.replace(whole_spec(1), missing=gone), (7, 7, 7))
    assert not set(gone) & set(phantom.present)
    assert phantom.missing == gone
    assert "left_kidney" in phantom.present


def test_metal_is_bright_and_its_artefacts_stay_near():
    spec = dataclasses.replace(whole_spec(6), z_range_mm=(-268.0, -100.0), lesions=())
    plain, hip = (render_phantom(dataclasses.replace(spec, metal=m), (5, 5, 5)) for m in ("none", "hip"))
    assert hip.hu.max() > 2500 > plain.hu.max()
    assert np.abs(hip.hu[:, :, -3:] - plain.hu[:, :, -3:]).max() < 5

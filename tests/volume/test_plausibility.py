"""Scans that cannot be a CT of a body are told from those that can."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bench.plausibility import FAULTS, Fault
from umlite.errors import GeometryError, InputError
from umlite.phantom import make_phantom
from umlite.volume.geometry import Grid
from umlite.volume.plausibility import CHECKS, check_geometry, check_values, is_body_sized
from umlite.volume.reading import read_scan
from umlite.volume.values import Counter, Values

EXPECTED = {
    "offset": {"offset-lost", "no-negative"},
    "offset added": {"offset-twice"},
    "normalised": {"normalised"},
    "z-scores": {"normalised"},
    "attenuation": {"normalised"},
    "windowed": {"8-bit"},
    "all HU on": {"8-bit", "no-negative"},
    "wrapped": {"8-bit", "dense", "fill"},
    "inverted": {"dense"},
    "tenfold": {"dense"},
    "cut to": {"8-bit", "cut-off"},
    "filled": {"fill"},
    "metres": {"refused"},
    "centimetres": {"refused"},
    "microns": {"refused"},
    "millimetres": {"refused"},
    "inches": {"refused"},
    "affine": {"identity"},
    "three slices": {"thin"},
    "slices left out": {"coarse"},
}


@pytest.fixture(scope="module")
def phantom() -> tuple[np.ndarray, np.ndarray]:
    drawn = make_phantom(3, (4, 4, 5))
    return drawn.hu.astype(np.int64), drawn.affine


def codes_of(hu: np.ndarray, affine: np.ndarray) -> set[str]:
    if hu.dtype == np.int64:
        hu = hu.astype(np.int32)
    try:
        scan = read_scan(nib.Nifti1Image(hu, affine))
    except GeometryError:
        return {"refused"}
    assert {finding.sentence for finding in scan.findings} <= set(scan.warnings)
    return {finding.code for finding in scan.findings}


@pytest.mark.parametrize(("kind", "fault"), FAULTS.items(), ids=list(FAULTS))
def test_a_fault_is_called_by_its_name(kind: str, fault: Fault, phantom: tuple[np.ndarray, np.ndarray]) -> None:
    assert codes_of(*phantom) == set()
    expected = EXPECTED[max((name for name in EXPECTED if kind.startswith(name)), key=len)]
    assert codes_of(*fault(*phantom)) & expected


def test_real_scans_are_not_blamed(shared: Path) -> None:
    data = shared / "data"
    for path in ("example_ct.nii.gz", "example_ct_sm.nii.gz", "series/totalseg_aorta/ct.nii.gz",
                 "series/totalseg_aorta/ct_cropped.nii.gz", "series/moose_neck/CT_enhance_pet_1446_neck_slice.nii.gz",
                 "series/ibsi_sts/STS_044/CT_image.nii.gz"):  # fmt: skip
        assert read_scan(data / path).findings == (), path


@pytest.mark.parametrize("kind", ["liver", "brain", "fat and muscle", "lung", "air with a hand", "blood and bone"])
def test_pieces_of_a_body_are_not_blamed(kind: str) -> None:
    rng = np.random.default_rng(0)

    def tissue(hu: float, noise: float = 12) -> np.ndarray:
        return rng.normal(hu, noise, (60, 60, 40))

    place = np.arange(60)[:, None, None]
    hu = {
        "liver": tissue(110),
        "brain": np.where(place < 50, tissue(35, 5), tissue(8, 5)),
        "fat and muscle": np.where(place < 30, tissue(-105), tissue(55)),
        "lung": np.where(place % 7 < 1, tissue(20), tissue(-860, 40)),
        "air with a hand": np.where(place < 58, tissue(-1000), tissue(40)),
        "blood and bone": np.where(place < 25, tissue(380), np.where(place < 40, tissue(900, 250), tissue(-90))),
    }[kind]
    assert codes_of(hu.round().astype(np.int16), np.diag([1.5, 1.5, 2.5, 1])) == set()


@pytest.mark.parametrize(
    ("shape", "spacing", "code"),
    [
        ((512, 512, 300), (0.7, 0.7, 1.0), None),
        ((512, 512, 1000), (1.3, 1.3, 2.0), None),  # a whole body
        ((512, 512, 20), (0.98, 0.98, 2.0), None),
        ((128, 128, 30), (0.5, 0.5, 5.0), None),
        ((512, 512, 80), (0.16, 0.16, 0.6), None),  # a temporal bone
        ((60, 50, 50), (1.0, 1.1, 1.1), "small"),
        ((512, 512, 3), (0.7, 0.7, 5.0), "thin"),
        ((512, 512, 30), (0.7, 0.7, 12.0), "coarse"),
        ((512, 512, 30), (1.0, 1.0, 1.0), "identity"),
        ((106, 80, 46), (0.3, 0.3, 0.3), "too-small"),
        ((512, 512, 400), (0.09, 0.09, 0.1), "too-small"),
        ((106, 80, 46), (0.003, 0.003, 0.003), "too-small"),
        ((106, 80, 46), (30.0, 30.0, 30.0), "too-large"),
        ((512, 512, 100), (2.5, 2.5, 5.0), "too-large"),
        ((4, 4, 3), (3.0, 3.0, 180000.0), "too-large"),
    ],
)
def test_geometry(shape: tuple[int, int, int], spacing: tuple[float, float, float], code: str | None) -> None:
    grid = Grid(shape, np.diag([*spacing, 1.0]))
    refuses = {check.code for check in CHECKS if check.refuses}
    assert is_body_sized(np.multiply(shape, spacing)) or code in refuses
    if code in refuses:
        with pytest.raises(GeometryError, match=r"^scan\.nii: It covers .* Is its unit mm\?"):
            check_geometry(grid, "scan.nii")
    found = [finding.code for finding in check_geometry(grid, "scan.nii", force=True)]
    assert found[:1] == [code] if code else found == []


def test_a_refused_scan_is_not_read(tmp_path: Path) -> None:
    """The size is told from the header, before anything else."""
    nib.save(
        nib.Nifti1Image(np.full((20, 20, 20), np.nan, np.float32), np.diag([0.1, 0.1, 0.1, 1])), tmp_path / "a.nii"
    )
    with pytest.raises(GeometryError):
        read_scan(tmp_path / "a.nii")
    with pytest.raises(InputError, match="NaN"):
        read_scan(tmp_path / "a.nii", force_geometry=True)


def test_values_do_not_depend_on_slabs_or_memory_order() -> None:
    hu = np.random.default_rng(0).normal(0, 400, (150, 140, 60)).astype(np.float32)
    found: list[Values] = []
    for array, planes in ((hu, 60), (np.asfortranarray(hu), 60), (np.asfortranarray(hu), 7), (hu, 1)):
        counter = Counter(hu.shape)
        for first in range(0, 60, planes):
            counter.add(array[:, :, first : first + planes])
        found.append(Values(*counter.ends, counter.counts))
    for values in found:
        np.testing.assert_array_equal(values.counts, found[0].counts)
        assert (values.low, values.high) == (hu.min(), hu.max())
    assert found[0].counts.sum() > 250_000
    assert abs(found[0].quantile(0.5)) < 5
    assert found[0].share(-400, 400) == pytest.approx(0.683, abs=0.01)


@pytest.mark.parametrize("padding", [-1024, -2000, -3024])
def test_padding_is_left_out_and_air_is_not(padding: int) -> None:
    rng = np.random.default_rng(0)
    hu = np.concatenate([rng.normal(-1000, 8, 30_000), rng.normal(-850, 60, 10_000), rng.normal(40, 40, 60_000)])
    for body, share in ((hu, 0.4), (hu[40_000:], 0.0)):
        counter = Counter((len(body) + 20_000, 1, 1))
        counter.add(np.r_[np.full(20_000, padding), body].reshape(-1, 1, 1))
        values = Values(*counter.ends, counter.counts).without_padding()
        kept = share if padding < -1024 or not share else share + 0.1
        assert values.share(-5000, -400) == pytest.approx(kept, abs=0.04)


def test_infinite_values_are_counted() -> None:
    counter = Counter((3, 1, 1))
    counter.add(np.array([np.inf, -np.inf, 5.0]).reshape(3, 1, 1))
    assert counter.counts.sum() == 3
    assert counter.ends == (-np.inf, np.inf)


def test_every_check_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "plausibility.md").read_text()
    for check in CHECKS:
        then = "refused" if check.refuses else "warning"
        assert f"| `{check.code}` | {check.threshold} | {check.reason} | {then} |\n" in text
    assert text.count("\n| `") == len(CHECKS)


def test_values_without_anything_to_say() -> None:
    assert check_values(Values(-1024, 3071, np.ones(9201, np.int64)))[0].code == "dense"

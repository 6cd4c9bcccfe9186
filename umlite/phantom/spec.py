"""The parameters of a phantom: patient, scan and lesions as plain numbers, drawn before anything is rendered."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from umlite.phantom.noise import stream

FIELDS_OF_VIEW: dict[str, tuple[float, float, float]] = {
    # name: lower end, upper end (mm in body coordinates, 0 between L1 and L2), share of the phantoms
    "chest_abdomen_pelvis": (-268, 315, 0.22),
    "abdomen_pelvis": (-268, 122, 0.34),
    "abdomen": (-112, 118, 0.2),
    "chest_upper_abdomen": (-45, 315, 0.14),
    "pelvis": (-268, -75, 0.1),
}
PHASES = {"native": 0.25, "arterial": 0.2, "portal_venous": 0.4, "late": 0.15}
TABLES = {"curved": 0.45, "flat": 0.25, "cushioned": 0.2, "none": 0.1}
REMOVABLE = {"gallbladder": 0.12, "right_kidney": 0.03, "left_kidney": 0.03, "spleen": 0.04, "prostate": 0.05}
LESIONS: dict[str, tuple[float, float, float, tuple[str, ...]]] = {
    # kind: share, median diameter in mm, spread of its logarithm, where it is seen
    "liver_tumor": (0.3, 20, 0.5, ("abdomen", "chest")),
    "kidney_tumor": (0.17, 26, 0.45, ("abdomen",)),
    "kidney_cyst": (0.19, 20, 0.5, ("abdomen",)),
    "pancreas_tumor": (0.12, 22, 0.35, ("abdomen",)),
    "lung_tumor": (0.12, 18, 0.5, ("chest",)),
    "colon_tumor": (0.1, 32, 0.3, ("abdomen", "pelvis")),
}
LESION_MM = (8.0, 50.0)
_LESIONS_MEAN = 1.7
STYLES = {"solid": 0.5, "necrotic": 0.2, "rim": 0.15, "faint": 0.15}


@dataclass(frozen=True)
class LesionSpec:
    """One requested lesion. `contrast` scales its difference to the host; `style` is a key of STYLES."""

    kind: str
    diameter_mm: float
    contrast: float
    style: str


@dataclass(frozen=True)
class PhantomSpec:
    """The drawn parameters of one phantom. `dataclasses.replace` makes a variant of the same patient.

    Args:
        scale: size relative to the reference adult: left-right, front-back, along the body.
        visceral_fat: from 0 (lean) to 1 (obese).
        subcutaneous_mm: fat under the skin at the flank.
        enhancement: strength of the contrast agent; 1 is usual.
        liver_fat_hu: how far steatosis lowers the liver.
        rotation_deg: about x, y and z.
        scoliosis_mm: sideways bend of the spine.
        breath_mm: how much lower the diaphragm is.
        stomach_fill, bladder_fill: 1 is usual.
        z_range_mm: lower and upper end of the scan in body coordinates.
        origin_mm: world position of the body's origin.
        blur_mm: standard deviation of the point spread function.
    """

    seed: int
    sex: str
    scale: tuple[float, float, float]
    subcutaneous_mm: float
    visceral_fat: float
    phase: str
    enhancement: float
    liver_fat_hu: float
    rotation_deg: tuple[float, float, float]
    scoliosis_mm: float
    breath_mm: float
    stomach_fill: float
    bladder_fill: float
    oral_contrast: str
    missing: tuple[str, ...]
    lesions: tuple[LesionSpec, ...]
    field_of_view: str
    z_range_mm: tuple[float, float]
    origin_mm: tuple[float, float, float]
    arms_down: bool
    table: str
    kernel: str
    noise_hu: float
    blur_mm: float
    streak_hu: float
    ring_hu: float
    metal: str


def draw_spec(seed: int) -> PhantomSpec:
    """Draw a patient, a scan and lesions. The same seed gives the same parameters."""
    rng = stream(seed, "spec")
    sex = str(rng.choice(["female", "male"]))
    height = rng.normal(0.96 if sex == "female" else 1.01, 0.03)
    girth = height * rng.normal(1.0, 0.035)
    fov = _choose(rng, {name: row[2] for name, row in FIELDS_OF_VIEW.items()})
    low, high, _ = FIELDS_OF_VIEW[fov]
    kernel = _choose(rng, {"soft": 0.6, "medium": 0.25, "sharp": 0.15})
    oral = _choose(rng, {"none": 0.6, "water": 0.15, "positive": 0.25})
    return PhantomSpec(
        seed=seed,
        sex=sex,
        scale=_rounded(np.clip([girth * rng.normal(1, 0.02), girth * rng.normal(1, 0.03), height], 0.88, 1.12)),
        subcutaneous_mm=_number(rng, 16 if sex == "female" else 12, 0.5, 4, 45),
        visceral_fat=round(float(rng.beta(1.6, 2.2)), 3),
        phase=_choose(rng, PHASES),
        enhancement=_number(rng, 1.0, 0.15, 0.7, 1.4),
        liver_fat_hu=round(float(rng.uniform(0, 45)) if rng.random() < 0.3 else 0.0, 1),
        rotation_deg=_rounded(np.clip(rng.normal(0, (2.0, 1.5, 4.0)), -9, 9)),
        scoliosis_mm=round(float(rng.normal(0, 4)), 2),
        breath_mm=round(float(np.clip(rng.normal(0, 9), -22, 16)), 2),
        stomach_fill=round(float(rng.uniform(0.6, 1.05)), 3),
        bladder_fill=round(float(rng.uniform(0.66, 1.2)), 3),
        oral_contrast=oral,
        missing=tuple(name for name, share in REMOVABLE.items() if rng.random() < share),
        lesions=_draw_lesions(rng, fov, _LESIONS_MEAN),
        field_of_view=fov,
        z_range_mm=_rounded([low + rng.uniform(-6, 14), high + rng.uniform(-14, 6)]),
        origin_mm=_rounded(rng.uniform((-25, -160, -900), (25, 60, 400))),
        arms_down=bool(rng.random() < 0.2),
        table=_choose(rng, TABLES),
        kernel=kernel,
        noise_hu=_number(rng, {"soft": 11, "medium": 16, "sharp": 26}[kernel], 0.35, 4, 45),
        blur_mm=round(float(rng.uniform(0.6, 1.4)) * {"soft": 1.2, "medium": 1.0, "sharp": 0.7}[kernel], 3),
        streak_hu=round(float(rng.uniform(4, 14)) if rng.random() < 0.25 else 0.0, 2),
        ring_hu=round(float(rng.uniform(2, 8)) if rng.random() < 0.12 else 0.0, 2),
        metal=_choose(rng, {"none": 0.93, "hip": 0.04, "spine": 0.03}),
    )


def with_more_lesions(spec: PhantomSpec, mean: float) -> PhantomSpec:
    """The same patient with further lesions, `mean` of them on average and at most six. Equal input, equal output."""
    drawn = _draw_lesions(stream(spec.seed, "more lesions"), spec.field_of_view, mean)
    return replace(spec, lesions=spec.lesions + drawn)


def _draw_lesions(rng: np.random.Generator, fov: str, mean: float) -> tuple[LesionSpec, ...]:
    share = {kind: row[0] for kind, row in LESIONS.items() if any(part in fov for part in row[3])}
    lesions = []
    for _ in range(min(int(rng.poisson(mean)), 6)):
        kind = _choose(rng, share)
        diameter = _number(rng, LESIONS[kind][1], LESIONS[kind][2], *LESION_MM)
        lesions.append(LesionSpec(kind, diameter, round(float(rng.uniform(0.6, 1.3)), 3), _choose(rng, STYLES)))
    return tuple(lesions)


def _choose(rng: np.random.Generator, shares: dict[str, float]) -> str:
    weights = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def _number(rng: np.random.Generator, median: float, spread: float, low: float, high: float) -> float:
    return round(float(np.clip(median * np.exp(rng.normal(0, spread)), low, high)), 3)


def _rounded(values: object) -> tuple:
    return tuple(round(float(v), 3) for v in np.asarray(values))

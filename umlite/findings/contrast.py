"""The contrast phase, from the HU of vessels and organs, and the noise."""

from __future__ import annotations

from collections.abc import Iterator

from umlite.findings.finding import Finding, Unjudged, joined, readable
from umlite.findings.subject import Subject

NATIVE_HU = 75.0
ARTERIAL_HU, ARTERIAL_RATIO = 180.0, 0.7
PORTAL_VENOUS_HU = 120.0
LEAST_VESSEL_ML, LEAST_ORGAN_ML = 2.0, 20.0
NOISY_HU = 30.0
_SD_OF_P5_TO_P95 = 3.29
_VEINS = ("portal_vein_and_splenic_vein", "postcava")
_OTHERS = ("right_kidney", "left_kidney", "liver", "spleen")


def contrast_phase(subject: Subject) -> Iterator[Finding | Unjudged]:
    """Native, arterial, portal venous or late."""
    aorta = subject.median_hu("aorta", LEAST_VESSEL_ML)
    if aorta is None:
        yield Unjudged("the contrast phase", "no aorta was found or asked for")
        return
    veins = {name: hu for name in _VEINS if (hu := subject.median_hu(name, LEAST_VESSEL_ML)) is not None}
    organs = {name: hu for name in _OTHERS if (hu := subject.median_hu(name, LEAST_ORGAN_ML)) is not None}
    vein = next(iter(veins.values()), None)
    phase = _phase(aorta, vein)
    if phase is None:
        yield Unjudged("the contrast phase", f"the aorta is at {aorta:.0f} HU, and no vein was found or asked for")
        return
    told = {"aorta": aorta, **veins, **organs}
    values = joined([f"{readable(name)} {hu:.0f}" for name, hu in told.items()])
    yield Finding(
        "contrast-phase",
        "note",
        f"Contrast phase: {phase} (median HU: {values}).",
        tuple(told),
        {"phase": phase, "median_hu": {name: round(hu, 1) for name, hu in told.items()}},
    )


def noise(subject: Subject) -> Iterator[Finding | Unjudged]:
    """The spread of HU within the more even of liver and spleen, whose vessels and lesions count too."""
    spreads = {}
    for name in ("liver", "spleen"):
        found = subject.classes.get(name)
        if found is not None and found.hu is not None and found.volume_ml >= LEAST_ORGAN_ML:
            spreads[name] = (found.hu.p95 - found.hu.p5) / _SD_OF_P5_TO_P95
    if not spreads:
        yield Unjudged("noise", "too little of liver and spleen was found or asked for")
        return
    name = min(spreads, key=lambda n: spreads[n])
    if spreads[name] > NOISY_HU:
        yield Finding(
            "noise",
            "note",
            f"The scan is noisy: HU within the {name} have a standard deviation of {spreads[name]:.0f}.",
            (name,),
            {"sd_hu": round(spreads[name], 1)},
        )


def _phase(aorta: float, vein: float | None) -> str | None:
    if aorta < NATIVE_HU:
        return "native"
    if vein is None:
        return None
    if aorta >= ARTERIAL_HU and vein < ARTERIAL_RATIO * aorta:
        return "arterial"
    return "portal venous" if aorta >= PORTAL_VENOUS_HU else "late"

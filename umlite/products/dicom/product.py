"""DICOM objects as products of a run. What writes them is imported when one is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from umlite.classes import AnatomyClass
from umlite.errors import RequestError
from umlite.outputs.file_set import Files
from umlite.products.dicom.identity import Maker
from umlite.products.place import Place
from umlite.products.product import Finished, Product

if TYPE_CHECKING:
    from umlite.dicom.series import Series
    from umlite.products.dicom.origin import Origin
    from umlite.products.dicom.segmentation import Encoding

REPORT = "report.dcm"
KEY_IMAGES = ("key_images.dcm", "key_montage.dcm", "key_note.dcm")
_EITHER = "prostate"
"""The class that is the prostate or the uterus in the training data."""


def encoding_of(name: str | None) -> Encoding:
    """The encoding of that name; the default for None. Raises RequestError."""
    if name in ("binary", "labelmap", None):
        return name or "binary"  # type: ignore[return-value]
    raise RequestError(f"Unknown encoding {name!r}: expected binary or labelmap.", about="seg")


class DicomSeg(Product):
    """One DICOM segmentation with all classes found, and on request a report of their measurements.

    Args:
        encoding: of the segmentation.
        with_report: whether to write the report beside it.
    """

    def __init__(self, encoding: Encoding = "binary", *, with_report: bool = False) -> None:
        self._encoding, self._with_report = encoding, with_report

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:  # noqa: ARG002  the same for any
        return [place.main, place.beside(REPORT)] if self._with_report else [place.main]

    def check(self, place: Place, series: Series | None) -> None:  # noqa: ARG002  the same anywhere
        _rehearse(series, "format")

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        from umlite.products.dicom.origin import origin_of
        from umlite.products.dicom.report import write_report
        from umlite.products.dicom.segmentation import write_seg

        result, origin, maker = finished.result, origin_of(_series(finished.series, "format")), maker_of(finished)
        seg = write_seg(files.new(place.main), result, origin, maker, self._encoding)
        if self._with_report:
            write_report(files.new(place.beside(REPORT)), result, finished.statistics, origin, maker, seg)
        finished.remarks.extend(_remarks(origin, seg.numbers))


class KeyImages(Product):
    """Slices of lesions, a montage and a note; nothing where there is no lesion."""

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:  # noqa: ARG002  the same for any
        return [place.beside(name) for name in KEY_IMAGES]

    def check(self, place: Place, series: Series | None) -> None:  # noqa: ARG002  the same anywhere
        _rehearse(series, "key_images")

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        if not finished.statistics.lesions:
            return
        from umlite.products.dicom.key_images import KeyImagePaths, write_key_images
        from umlite.products.dicom.origin import origin_of

        images, whole, note = (files.new(path) for path in self.paths(place, finished.result.classes))
        origin = origin_of(_series(finished.series, "key_images"))
        paths = KeyImagePaths(images, whole, note)
        write_key_images(paths, finished.result, finished.statistics, origin, maker_of(finished))


def maker_of(finished: Finished) -> Maker:
    """The weights that made a result, by the hash of their file, or else of the file that they were converted from."""
    card = finished.result.card
    return Maker(card.name, finished.run.get("weights", {}).get("sha256") or card.source.sha256, card.notice)


def _rehearse(series: Series | None, option: str) -> None:
    """Raise where no DICOM objects can be made of a series."""
    from umlite.products.dicom.origin import origin_of
    from umlite.products.dicom.segmentation import rehearse_seg

    rehearse_seg(origin_of(_series(series, option)))


def _series(series: Series | None, option: str) -> Series:
    if series is None:
        raise RequestError(
            "DICOM objects can be made of a DICOM series only, since they refer to its slices: found a file of another "
            "format. Give the series, or write NIfTI.",
            about=option,
        )
    return series


def _remarks(origin: Origin, found: dict[str, int]) -> list[str]:
    remarks = list(origin.remarks)
    if _EITHER in found and origin.patient_sex == "F":
        remarks.append("The patient is female: the class prostate, which is coded as such, shows the uterus.")
    return remarks

"""The products of a run, from what is wanted. Those that draw or measure are imported only where they are wanted."""

from __future__ import annotations

from umlite.errors import RequestError
from umlite.names import NAMES
from umlite.products.bids import DatasetDescription, LabelTable
from umlite.products.color_table import ColorTable
from umlite.products.dicom.product import KeyImages
from umlite.products.elsewhere import check_given
from umlite.products.formats import DICOM_SEG, LABEL_MAP, Format
from umlite.products.layout import BIDS
from umlite.products.masks import Probabilities
from umlite.products.product import Product
from umlite.products.wanted import Wanted


def products_of(wanted: Wanted, chosen: Format, *, probabilities: bool = False, scans: int = 1) -> tuple[Product, ...]:
    """Products in the order in which they are written, the masks first.

    Args:
        wanted: what is wanted.
        chosen: the format of the masks.
        probabilities: whether probabilities are kept, and written.
        scans: number of scans of the run.

    Raises:
        RequestError: what is wanted cannot be written.
    """
    _check_dicom(wanted, chosen)
    check_given(wanted.manifest, ".json", "manifest", scans)
    check_given(wanted.preview, ".png", "preview", scans)
    check_given(wanted.report, ".html", "report", scans)
    if wanted.names not in NAMES:
        raise RequestError(f"Unknown names {wanted.names!r}: expected {', '.join(NAMES)}.", about="names")
    if wanted.color_table and chosen is not LABEL_MAP:
        raise RequestError(f"A colour table belongs to a label map, not to {chosen.name}.", about="color_table")
    products = [chosen.make(wanted)]
    if probabilities:
        products.append(Probabilities(wanted.names))
    if wanted.layout == BIDS:
        products += [LabelTable(wanted.names), DatasetDescription()]
    if wanted.color_table:
        products.append(ColorTable(wanted.names))
    if wanted.statistics:
        from umlite.products.tables import StatisticsTables

        products.append(StatisticsTables())
    if wanted.mesh is not None:
        from umlite.products.mesh.product import Meshes

        products.append(Meshes(wanted.mesh, wanted.names))
    if wanted.preview is not None:
        from umlite.products.pictures.preview import Preview

        products.append(Preview(wanted.preview))
    if wanted.key_images:
        products.append(KeyImages())
    if wanted.report is not None:
        from umlite.products.report.product import Report

        products.append(Report(wanted.report))
    return tuple(products)


def _check_dicom(wanted: Wanted, chosen: Format) -> None:
    """Raise RequestError for what is asked of a DICOM segmentation where none is written."""
    for name, value, what in (("seg", wanted.seg, "An encoding"), ("sr", wanted.sr, "A structured report")):
        if value and chosen is not DICOM_SEG:
            raise RequestError(
                f"{what} needs a DICOM segmentation: expected the format {DICOM_SEG.name}, found {chosen.name}.",
                about=(name, "format"),
            )

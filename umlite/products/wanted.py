"""What is wanted of every scan, as plain data: the format of the masks, and what is written beside them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from umlite.names import OWN
from umlite.records import from_fields
from umlite.request import Request


@dataclass(frozen=True)
class Wanted:
    """What is to be written of a result. It can be compared, hashed, pickled and stored as JSON.

    Args:
        format: name of one of `umlite.products.formats.FORMATS`; None for what the output's name says.
        layout: where files go: one of `umlite.products.layout.LAYOUTS`.
        names: what files and labels are called: a key of `umlite.names.NAMES`.
        color_table: whether a label map gets a table of its names and colours, NAME.ctbl.
        statistics: volumes, HU, places and lesions, as CSV and JSON.
        mesh: format of each class's surface, one of `umlite.products.mesh.files.MESH_FORMATS`; None for none.
        preview: file of a picture, or a folder for those of several scans; None for none.
        report: file of a page, or a folder for those of several scans; None for none.
        checks: whether the result is checked against itself; told on the terminal, in JSON and in files about it.
        seg: how a DICOM segmentation holds masks, "binary" (None) or "labelmap".
        sr: measurements as a DICOM structured report beside the DICOM segmentation.
        key_images: slices of lesions as DICOM, with a montage and a note.
        manifest: file of the run manifest, or a folder for those of several scans; None for the default place.
    """

    format: str | None = None
    layout: str = "flat"
    names: str = OWN
    color_table: bool = False
    statistics: bool = False
    mesh: str | None = None
    preview: str | None = None
    report: str | None = None
    checks: bool = True
    seg: str | None = None
    sr: bool = False
    key_images: bool = False
    manifest: str | None = None

    @property
    def needs_details(self) -> bool:
        """Whether a product tells more than the masks do, so that the request must ask for `details`."""
        return self.statistics or self.sr or self.report is not None

    def request(self, asked: Request) -> Request:
        """A request that also keeps what these products need of the computation."""
        return replace(asked, details=self.needs_details, surfaces=self.mesh is not None)

    def to_dict(self) -> dict[str, Any]:
        """What is wanted by field, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any) -> Wanted:
        """Inverse of `to_dict`. Missing fields keep their defaults. Raises RequestError for anything else."""
        return from_fields(cls, data, "what is wanted")

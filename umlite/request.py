"""A request as plain data: classes, windows, overlap, probabilities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from umlite.class_table import class_words
from umlite.errors import RequestError
from umlite.records import changed, from_fields

WINDOWS = ("all", "adaptive")

Classes = str | Iterable[str] | None
"""Names, aliases, groups or published numbers: "liver,tumors", a list of them, or None for all."""


@dataclass(frozen=True)
class Request:
    """What is asked of a scan. Requests can be compared, hashed, pickled and stored as JSON.

    Args:
        classes: names, aliases, groups or numbers, as in `Classes`; kept as a tuple of words. None for all classes of
            the weights.
        overlap: overlap of neighbouring windows, 0 <= overlap < 1.
        windows: "all", or "adaptive" to skip windows that cannot hold the classes or the organs that their
            post-processing reads (`umlite.sweep.adaptive`).
        probabilities: whether to keep probabilities, taken before post-processing.
        details: whether to keep what statistics tell of lesions beyond their masks: logits, and organs that they
            may lie in.
        surfaces: whether to keep the logits that surfaces are made from; they are the same bytes as probabilities.
        force_geometry: whether to segment a scan whose size in mm no body has, with a warning.

    Raises:
        RequestError: an overlap out of range, unknown windows, or classes that are neither text nor a list. Names are
            checked later, against the weights.
    """

    classes: tuple[str, ...] | None = None
    overlap: float = 0.5
    windows: str = "all"
    probabilities: bool = False
    details: bool = False
    surfaces: bool = False
    force_geometry: bool = False

    def __post_init__(self) -> None:
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(class_words(self.classes)))
        check_overlap(self.overlap)
        if self.windows not in WINDOWS:
            raise RequestError(f"Unknown windows {self.windows!r}: expected {' or '.join(WINDOWS)}.", about="windows")

    @property
    def keeps_probabilities(self) -> bool:
        """Whether probabilities are kept, for themselves or for surfaces."""
        return self.probabilities or self.surfaces

    @property
    def can_be_parted(self) -> bool:
        """Whether some classes can be computed after the others, which share no choice of windows and no file."""
        return self.windows == "all" and not self.keeps_probabilities

    @classmethod
    def of(cls, asked: Request | Classes = None, **changes: Any) -> Request:
        """Make a request from classes or from another request, with some fields changed."""
        if not isinstance(asked, Request):
            asked = cls(None if asked is None else tuple(class_words(asked)))
        return changed(asked, changes) if changes else asked

    def to_dict(self) -> dict[str, Any]:
        """The request by field, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any) -> Request:
        """Inverse of `to_dict`. Missing fields keep their defaults. Raises RequestError for anything else."""
        return from_fields(cls, data, "request")


def check_overlap(overlap: float) -> None:
    """Raise RequestError unless 0 <= overlap < 1."""
    if not 0 <= overlap < 1:
        raise RequestError(f"Expected an overlap of at least 0 and below 1, found {overlap}.", about="overlap")

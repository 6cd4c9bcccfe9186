"""The model card inside a weights file: everything about a model that its tensors do not say."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from umlite.class_table import ClassTable
from umlite.errors import RequestError, WeightsError
from umlite.models.config import NetworkConfig

FORMAT = 1
KEY = "umlite"  # of the safetensors metadata

PUBLISHED_SPACING_MM = (1.5, 1.5, 1.5)
PUBLISHED_HU_RANGE = (-175.0, 250.0)
PUBLISHED_WINDOW = (96, 96, 96)
MOST_WINDOW = 512  # voxels along an axis
SPACINGS_MM = (0.1, 50.0)  # beyond, a scan would have no voxels, or more than any memory holds


@dataclass(frozen=True)
class Source:
    """The file that weights were converted from."""

    file: str = ""
    sha256: str = ""
    url: str = ""


@dataclass(frozen=True)
class ModelCard:
    """What `umlite weights convert` stores beside the tensors.

    name: what users call these weights. network: the architecture. classes: names in the order of the heads.
    spacing_mm, hu_range, window: how a scan becomes windows (voxel spacing, clipped HU, voxels along x, y, z).
    license: of the weights. notice: a sentence that marks every result made with them, or empty.
    training: what they were trained on, in a few words, or empty. source: the file that they were converted from.
    """

    name: str
    network: NetworkConfig
    classes: tuple[str, ...]
    spacing_mm: tuple[float, float, float] = PUBLISHED_SPACING_MM
    hu_range: tuple[float, float] = PUBLISHED_HU_RANGE
    window: tuple[int, int, int] = PUBLISHED_WINDOW
    license: str = ""
    notice: str = ""
    training: str = ""
    source: Source = field(default_factory=Source)

    def __post_init__(self) -> None:
        """Check everything, since the file may come from anywhere. Raises WeightsError."""
        if len(self.classes) != self.network.head.heads:
            raise WeightsError(
                f"The weights hold {self.network.head.heads} classes, but {len(self.classes)} class names are given."
            )
        multiple = self.network.backbone.window_multiple
        if len(self.window) != 3 or any(type(n) is not int or n < multiple or n % multiple for n in self.window):
            raise WeightsError(
                f"Expected a window of three multiples of {multiple} voxels, found {self.window!r:.100}."
            )
        if math.prod(self.window) == multiple**3 or max(self.window) > MOST_WINDOW:
            raise WeightsError(
                f"Expected a window of more than {multiple} and up to {MOST_WINDOW} voxels a side, "
                f"found {self.window!r:.100}."
            )
        least, most = SPACINGS_MM
        if len(self.spacing_mm) != 3 or not all(least <= s <= most for s in self.spacing_mm):
            raise WeightsError(
                f"Expected a spacing of three lengths from {least} to {most} mm, found {self.spacing_mm!r:.100}."
            )
        if len(self.hu_range) != 2 or not -1e6 < self.hu_range[0] < self.hu_range[1] < 1e6:
            raise WeightsError(f"Expected a HU range that rises, found {self.hu_range!r:.100}.")
        for text in (self.name, self.license, self.notice, self.training, *vars(self.source).values()):
            if not isinstance(text, str) or not text.isprintable() or len(text) > 2000:
                raise WeightsError(f"Expected a short plain text, found {text!r:.100}.")
        try:
            ClassTable(self.classes)
        except (RequestError, AttributeError) as error:
            raise WeightsError(str(error)[:500]) from error

    def to_metadata(self) -> dict[str, str]:
        """safetensors metadata: one JSON text."""
        data = {**asdict(self), "network": self.network.to_dict(), "format": FORMAT}
        return {KEY: json.dumps(data, indent=1)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str] | None) -> ModelCard:
        """Inverse of `to_metadata`. Raises WeightsError on metadata that is absent, newer or damaged."""
        if not metadata or KEY not in metadata:
            raise WeightsError(
                "this safetensors file has no model card of umlite. Convert the published .pth checkpoint with "
                "`umlite weights convert FILE.pth`."
            )
        try:
            data: dict[str, Any] = json.loads(metadata[KEY])
            version = data.pop("format")
            if version != FORMAT:
                raise WeightsError(
                    f"these weights are in format {version!r:.20}, and this version of umlite reads format {FORMAT}. "
                    "Update umlite, or convert the checkpoint again."
                )
            network, source = NetworkConfig.from_dict(data.pop("network")), Source(**data.pop("source"))
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
            return cls(network=network, source=source, **fields)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise WeightsError(f"the weights' model card is damaged ({error!r:.200}). Convert them again.") from error

"""umlite: run the Universal Model (arXiv 2405.18356) on CT scans, exactly and fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from umlite.api import Segmentation, Segmenter

__version__ = "0.1.0.dev0"
__all__ = ["Segmentation", "Segmenter", "__version__"]


def __getattr__(name: str) -> Any:
    """Import Segmenter and Segmentation on first use, so that `import umlite` does not wait for torch."""
    if name in ("Segmenter", "Segmentation"):
        from umlite import api

        return getattr(api, name)
    raise AttributeError(f"module 'umlite' has no attribute {name!r}")

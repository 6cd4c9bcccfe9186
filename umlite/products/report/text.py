"""The sentences of reports, all from one file for each language."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib.resources import files

LANGUAGE = "en"


@functools.cache
def sentences(part: str) -> Mapping[str, str]:
    """Sentences of one part of the page, by name, with {gaps} for `str.format`."""
    text = files(__package__).joinpath(f"text.{LANGUAGE}.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)[part]
    return found

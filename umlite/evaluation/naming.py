"""Names of classes and cases in the layouts of other tools, brought to one spelling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from umlite.class_table import normalise
from umlite.classes import GROUPS, PUBLISHED
from umlite.errors import RequestError
from umlite.files import expanded, read_json
from umlite.names import canonical_names

_CANONICAL = {normalise(s): c.name for c in PUBLISHED for s in (*c.aliases, c.published, c.name)} | canonical_names()
"""Names of other tools are no aliases of the class table: a model may call its own classes so."""
_CASE_ENDINGS = ("_segmentation", "_labels", "_label", "_dseg", "_mask", "_seg", "_0000", "_ct", "_gt")
PUBLISHED_NUMBERS = "published"


def class_name(word: str) -> str:
    """The canonical name of a class; a name that the class table does not know, in its spelling."""
    name = normalise(word)
    return _CANONICAL.get(name, name)


def is_known(word: str) -> bool:
    """Whether the class table knows a name."""
    return normalise(word) in _CANONICAL


def requested_names(words: Iterable[str]) -> tuple[str, ...]:
    """Canonical names for classes and groups, each once, in the order asked for."""
    names = [n for word in words if word.strip() for n in GROUPS.get(normalise(word), (class_name(word),))]
    return tuple(dict.fromkeys(names))


def case_key(name: str) -> str:
    """What two files of one case have in common: CASE for CASE_ct, CASE_0000, CASE_dseg and the like."""
    key = name.lower()
    while ending := next((e for e in _CASE_ENDINGS if key.endswith(e) and key != e), None):
        key = key[: -len(ending)]
    return key


def read_names(source: Path | str) -> dict[int, str]:
    """Names of the labels of a label map, from a JSON file.

    Args:
        source: a file that holds {"liver": 6}, {"6": "liver"} or either under "labels", as nnU-Net's dataset.json; or
            the word "published" for the numbers of the published model.

    Raises:
        RequestError: the file cannot be read or says something else.
    """
    if str(source) == PUBLISHED_NUMBERS:
        return {c.index: c.name for c in PUBLISHED}
    try:
        data = read_json(expanded(source))
    except (OSError, ValueError) as error:
        raise RequestError(f"Cannot read names from {source}: {error}. Give a JSON file.", about="names") from error
    if isinstance(data, dict):
        data = data.get("labels", data)
    names = _numbered(data) if isinstance(data, dict) else None
    if not names:
        raise RequestError(
            f'{source} holds no names of labels: expected {{"liver": 6, "spleen": 1}} or {{"6": "liver"}}.',
            about="names",
        )
    return {number: name for number, name in names.items() if number}


def _numbered(data: Mapping[str, Any]) -> dict[int, str] | None:
    if all(isinstance(value, int) and not isinstance(value, bool) for value in data.values()):
        return {value: class_name(name) for name, value in data.items()}
    if all(isinstance(value, str) and number.isdecimal() for number, value in data.items()):
        return {int(number): class_name(value) for number, value in data.items()}
    return None

"""A finding, and a check that could not be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["warning", "note"]
"""A warning doubts the scan or its masks. A note is what a reader of the result should know."""

_MOST_LISTED = 8


@dataclass(frozen=True)
class Finding:
    """Something about a result that a reader should know. It never blocks.

    Args:
        code: of the check, stable.
        level: see `Level`.
        sentence: one sentence, with the most important numbers.
        classes: canonical names that it is about; empty if it is about the scan.
        evidence: numbers and words, ready for JSON.
    """

    code: str
    level: Level
    sentence: str
    classes: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "code": self.code,
            "level": self.level,
            "sentence": self.sentence,
            "classes": list(self.classes),
            "evidence": dict(self.evidence),
        }


@dataclass(frozen=True)
class Unjudged:
    """A check that could not be made. about: what it would have told. reason: a clause, as "no liver was found"."""

    about: str
    reason: str


def joined(words: Sequence[str]) -> str:
    """Words as a list of a sentence: a, b and c. Long lists are cut, since `Finding.classes` and evidence hold all."""
    if len(words) > _MOST_LISTED:
        return f"{', '.join(words[: _MOST_LISTED - 1])} and {len(words) - _MOST_LISTED + 1} more"
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def readable(name: str) -> str:
    """A class's name in a sentence."""
    return name.replace("_", " ")

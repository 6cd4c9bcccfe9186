"""The classes of one model, and how the names of a request find them."""

from __future__ import annotations

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

from umlite.classes import GROUPS, LESION_ENDINGS, PUBLISHED, REPLACED, AnatomyClass
from umlite.errors import RequestError


def normalise(name: str) -> str:
    """The standard spelling of a name: right_kidney for "Right Kidney", liver_tumor for "liver tumour"."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower()).strip("_").replace("tumour", "tumor")


class ClassTable(Sequence[AnatomyClass]):
    """The classes of one model, in the order of its heads.

    A name outside the published table becomes a class of its own (of an extended model), numbered after the published
    ones.

    Args:
        names: published or canonical names, or aliases of published classes that the model does not have otherwise.

    Raises:
        RequestError: names that repeat, that name a group, or that cannot be file names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        wanted = [normalise(name) for name in names]
        exact = {s: c for c in PUBLISHED for s in (normalise(c.published), c.name)}
        taken = {exact[name].name for name in wanted if name in exact}
        known = {a: c for c in PUBLISHED for a in c.aliases if c.name not in taken} | exact
        numbers = itertools.count(len(PUBLISHED) + 1)
        self._classes = tuple(known.get(name) or _own_class(name, next(numbers)) for name in wanted)
        self._head = {c.name: i for i, c in enumerate(self._classes)}
        if len(self._head) != len(self._classes):
            twice = sorted(name for name, count in Counter(c.name for c in self._classes).items() if count > 1)
            raise RequestError(
                f"Expected distinct classes, found more than once: {', '.join(twice)}.", about="class_names"
            )
        self._by_spelling = {s: c for c in self._classes for s in _spellings(c)} | {c.name: c for c in self._classes}

    def __len__(self) -> int:
        return len(self._classes)

    def __iter__(self) -> Iterator[AnatomyClass]:
        return iter(self._classes)

    @overload
    def __getitem__(self, item: int) -> AnatomyClass: ...
    @overload
    def __getitem__(self, item: slice) -> tuple[AnatomyClass, ...]: ...
    def __getitem__(self, item: int | slice) -> AnatomyClass | tuple[AnatomyClass, ...]:
        return self._classes[item]

    def __contains__(self, name: object) -> bool:
        return name in self._head or name in self._classes

    def head_of(self, name: str) -> int:
        """Position of a class, given by its canonical name, among the model's heads (0-based)."""
        return self._head[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Canonical names in the order of the heads."""
        return tuple(c.name for c in self._classes)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The groups that this model has, reduced to its classes. `all` is every class it has."""
        groups = {g: tuple(n for n in members if n in self._head) for g, members in GROUPS.items()}
        groups["all"] = self.names
        groups["organs"] = tuple(c.name for c in self._classes if c.kind != "tumor")
        groups["tumors"] = tuple(c.name for c in self._classes if c.kind == "tumor")
        return {g: members for g, members in groups.items() if members}

    def resolve(self, request: str | Iterable[str] | None) -> tuple[AnatomyClass, ...]:
        """Classes for a request, each once.

        Args:
            request: None (all), "liver,pancreas_tumor", or an iterable of names, aliases, groups or published numbers.

        Returns:
            Classes in the requested order; those of a group, or of None, in the model's order.

        Raises:
            RequestError: unknown words; the message names each, with the nearest known names.
        """
        if request is None:
            return self._classes
        words = class_words(request)
        if not words:
            raise RequestError(
                "No class was asked for. Name classes or groups, such as liver,kidneys (`umlite classes` lists them).",
                about="classes",
            )
        groups, numbers = self.groups, {str(c.index): c.name for c in self._classes}
        wanted: list[str] = []
        unknown: list[str] = []
        known = {key: (c.name,) for key, c in self._by_spelling.items()} | groups
        known = {number: (name,) for number, name in numbers.items()} | known
        for word in words:
            if keys := _known_parts(word, known):
                wanted.extend(name for key in keys for name in known[key])
            else:
                unknown.append(word)
        if unknown:
            raise RequestError(self._explain(unknown), about="classes")
        return tuple(self._classes[self._head[name]] for name in dict.fromkeys(wanted))

    def _explain(self, unknown: list[str]) -> str:
        lines = []
        elsewhere = {s: c.name for c in PUBLISHED for s in _spellings(c)}
        for word in unknown:
            key = normalise(word)
            near = difflib.get_close_matches(key, [*self._by_spelling, *self.groups], n=3, cutoff=0.6)
            near = list(dict.fromkeys(self._by_spelling[n].name if n in self._by_spelling else n for n in near))
            if key in elsewhere or key in GROUPS:
                lines.append(f"{word!r} is not among the {len(self)} classes of these weights")
            elif near:
                lines.append(f"unknown class {word!r}: did you mean {' or '.join(near)}?")
            else:
                lines.append(f"unknown class {word!r}")
        return (
            "; ".join(lines)[:2000].rstrip("?.")
            + ("?" if lines[-1].endswith("?") else ".")
            + " `umlite classes` lists all names; `umlite extend` teaches a network a new class."
        )


def is_class_word(word: str) -> bool:
    """Whether a word names a published class or a group."""
    key = normalise(word)
    return key in GROUPS or key == "all" or any(key in _spellings(c) for c in PUBLISHED)


def class_words(asked: str | Iterable[object]) -> list[str]:
    """Words of a list of classes: between commas, semicolons, tabs or line breaks. A byte order mark is no letter.

    Args:
        asked: such a text, or several of them, or published numbers.

    Raises:
        RequestError: something else.
    """
    if isinstance(asked, bytes) or not isinstance(asked, Iterable):
        raise RequestError(
            f'Expected classes as text ("liver,spleen") or a list of names, found {asked!r:.80}.', about="classes"
        )
    texts = [asked] if isinstance(asked, str) else [str(each) for each in asked]
    parts = (part.strip() for text in texts for part in re.split(r"[,;\t\r\n\ufeff]+", text))
    return [word for word in parts if word]


def _known_parts(word: str, known: Mapping[str, object]) -> list[str]:
    """Keys that a word stands for: its own, or those of its parts between blanks, the longest first; else none."""
    parts, keys, first = word.split(), [], 0
    while first < len(parts):
        ends = range(len(parts), first, -1)
        found = next((end for end in ends if normalise(" ".join(parts[first:end])) in known), None)
        if found is None:
            return []
        keys.append(normalise(" ".join(parts[first:found])))
        first = found
    return keys


def _spellings(c: AnatomyClass) -> tuple[str, ...]:
    return tuple(dict.fromkeys((c.name, normalise(c.published), *c.aliases)))


def _own_class(name: str, index: int) -> AnatomyClass:
    if not re.fullmatch(r"[a-z][a-z0-9_.+]{0,63}", name.removesuffix(REPLACED)) or name in GROUPS:
        raise RequestError(
            f"{name!r} cannot name a class: expected a letter, then letters, digits, '_', '.', '+'; not a group's name."
        )
    hue = (37 * index) % 192
    kind = "tumor" if name.removesuffix(REPLACED).endswith(LESION_ENDINGS) else "organ"
    return AnatomyClass(index, name, name, (64 + hue, 255 - hue, 64 + (91 * index) % 192), kind)

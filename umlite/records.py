"""Frozen dataclasses of plain values from JSON, with the name and type of every field checked."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar

from umlite.errors import RequestError

Record = TypeVar("Record")


def from_fields(cls: type[Record], data: Any, what: str) -> Record:
    """Make a dataclass from a mapping of its fields. Missing fields keep their defaults.

    Lists become tuples and whole numbers become floats if that is the type of the field.

    Args:
        cls: a dataclass whose fields are str, int, float, bool, tuples of str, or one of these or None.
        data: an object from JSON.
        what: the name of the data in messages, such as "request".

    Raises:
        RequestError: not a mapping, an unknown field, or a value of a wrong type.
    """
    if not isinstance(data, dict):
        raise RequestError(f"Expected {what} as a JSON object, found {type(data).__name__}.")
    hints = typing.get_type_hints(cls)
    unknown = sorted(str(name) for name in data if name not in hints)
    if unknown:
        raise RequestError(f"Unknown {what}: {', '.join(unknown)}. Known: {', '.join(hints)}.")
    return cls(**{name: _checked(value, hints[name], f"{what}: {name}") for name, value in data.items()})


def changed(record: Record, changes: dict[str, Any]) -> Record:
    """A copy of a record with some fields replaced. Raises TypeError for an unknown field."""
    unknown = sorted(set(changes).difference(field.name for field in dataclasses.fields(record)))  # type: ignore[arg-type]
    if unknown:
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}")
    return dataclasses.replace(record, **changes)  # type: ignore[type-var]


def _checked(value: Any, kind: Any, where: str) -> Any:
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for each in kinds:
        if each is type(None) and value is None:
            return None
        if typing.get_origin(each) is tuple and isinstance(value, list | tuple):
            if all(isinstance(item, str) for item in value):
                return tuple(value)
        elif each is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif each in (str, bool, int) and type(value) is each:
            return value
    names = " or ".join("null" if k is type(None) else getattr(k, "__name__", str(k)) for k in kinds)
    raise RequestError(f"{where}: expected {names}, found {value!r:.80}.")

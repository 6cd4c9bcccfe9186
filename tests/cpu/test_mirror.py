"""Structs that C and Python both declare: the compiler says what C has."""

from __future__ import annotations

import ctypes
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import umlite.cpu
from umlite.cpu import compiler, libraries
from umlite.cpu.activation import Activation
from umlite.cpu.compiler import CompilerError
from umlite.cpu.mirror import Mirror, address
from umlite.cpu.pending import Pending, pending

for module in pkgutil.iter_modules(umlite.cpu.__path__):
    importlib.import_module(f"umlite.cpu.{module.name}")

MIRRORS = Mirror.__subclasses__()
"""All of them: one that is added is checked without being named here."""


def in_python(mirror: type[Mirror]) -> list[int]:
    """The size of a struct, then offset and size of each field."""
    fields = [getattr(mirror, field[0]) for field in mirror._fields_]
    return [ctypes.sizeof(mirror), *(number for field in fields for number in (field.offset, field.size))]


def in_c(mirror: type[Mirror], folder: Path) -> list[int]:
    """The same of the struct that C declares, whose fields have the same names."""
    source, name = mirror.declared
    fields = [f"offsetof({name}, {field[0]}), sizeof((({name} *)0)->{field[0]})" for field in mirror._fields_]
    program, library = folder / "layout.c", folder / "layout.so"
    program.write_text(
        f'#include <stddef.h>\n#include "{source}"\nconst long layout[] = {{sizeof({name}), {", ".join(fields)}}};\n'
    )
    try:
        command = compiler.compiler()
    except CompilerError as error:
        pytest.skip(str(error))
    compiler.compile_source(program, library, command, [f"-I{libraries.SOURCE}"])
    return list((ctypes.c_int64 * (1 + 2 * len(fields))).in_dll(ctypes.CDLL(str(library)), "layout"))


@pytest.mark.parametrize("mirror", MIRRORS, ids=lambda mirror: mirror.declared[1])
def test_c_and_python_agree(mirror: type[Mirror], tmp_path: Path) -> None:
    assert in_python(mirror) == in_c(mirror, tmp_path)


def test_every_struct_that_kernels_are_given_is_mirrored() -> None:
    public = re.compile(r"^(?:void|int|long) \w+\((.*?)\) \{", re.MULTILINE | re.DOTALL)
    sources = [path.read_text() for path in libraries.SOURCE.glob("*.c")]
    given = {name for text in sources for found in public.findall(text) for name in re.findall(r"\w+_t\b", found)}
    assert given == {mirror.declared[1] for mirror in MIRRORS}


@pytest.mark.parametrize("change", ["order", "kind", "left out"])
def test_a_mirror_that_differs_is_noticed(tmp_path: Path, change: str) -> None:
    fields = list(Pending._fields_)
    fields = {
        "order": [fields[1], fields[0], *fields[2:]],
        "kind": [*fields[:-1], ("slope", ctypes.c_double)],
        "left out": fields[1:],
    }[change]
    other = type("Other", (ctypes.Structure,), {"declared": Pending.declared, "_fields_": fields})
    assert in_python(other) != in_c(other, tmp_path)


def test_a_mirror_holds_what_it_points_to() -> None:
    activation = Activation.plain(np.arange(64, dtype=np.float32).reshape(1, 1, 2, 32))
    made = pending(activation)
    place = made.data
    del activation
    assert list((ctypes.c_float * 64).from_address(place)) == list(range(64))


@pytest.mark.parametrize(
    "array", [np.zeros(4), np.zeros((4, 4), np.float32)[:, ::2], np.zeros((4, 4), np.float32).T[:, :2]]
)
def test_arrays_of_another_kind_or_with_gaps_are_refused(array) -> None:
    with pytest.raises(ValueError, match="contiguous float32"):
        address(array)


def test_rows_may_lie_apart() -> None:
    array = np.zeros((4, 6), np.float32)[:, 1:3]
    assert address(array, rows=True) == array.ctypes.data
    with pytest.raises(ValueError, match="contiguous"):
        address(array.T, rows=True)


def test_a_residual_of_other_channels_is_refused() -> None:
    one, two = (Activation.plain(np.zeros((1, 1, 1, 16 * width), np.float32)) for width in (1, 2))
    one.residual = two
    with pytest.raises(ValueError, match="16 stored channels"):
        pending(one)

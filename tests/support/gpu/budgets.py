"""What each kernel may cost on each GPU: a checked-in table that a worse kernel fails.

Cases are in `cases/`, a file for each operation, each with a tuple `CASES`. The table lies beside the kernels. To write
their costs into it again, all of them or those whose names start with one of the given words:

    PYTHONPATH=tests python -m support.gpu.budgets [name ...]

Compilers differ: the table has a column for each minor version of Triton in EXACT. Another version may not spill and
may take a quarter more instructions than the most in these; where it takes more, the command writes a column for it.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import triton

import umlite.kernels.triton
from support.gpu import cases
from support.gpu.compiled import Code, Launch, compile_launch, record
from support.gpu.stub_driver import TARGETS

TABLE = Path(umlite.kernels.triton.__file__).with_name("budgets.json")
VERSION = ".".join(triton.__version__.split(".")[:2])
EXACT = ("3.6", "3.7", "3.9")  # of torch 2.10 and 2.11, of torch 2.13, the newest
MORE = 1.25
DEFAULT_TARGETS = ("sm_80", "sm_90", "gfx942")

TENSOR_CORES = {  # instructions that are a matrix product on tensor cores
    "sm_80": "HMMA",
    "sm_86": "HMMA",
    "sm_89": "HMMA",
    "sm_90": "HGMMA",
    "sm_100": "UTC",  # UTCHMMA, UTCQMMA
    "sm_120": "HMMA",
    "gfx942": "v_mfma",
}
WIDE_LOADS = {128: ("LDG128", "dwordx4"), 64: ("LDG64", "dwordx2")}  # NVIDIA; AMD: any instruction so named
LOADS = ("LDG", "global_load", "buffer_load")


@dataclass(frozen=True)
class Case:
    """Launch code with one set of arguments, and what its kernels must be.

    launch: calls launch code on meta tensors; each kernel launched gets an entry `name` or, if several, `name:kernel`.
    elements: how many elements (voxels times classes, say) a block works on: all of them or, if `loop`, in one turn
        of its longest loop. From the kernel's keyword arguments.
    loop: count the longest loop's instructions, else (and without a loop) those of the whole kernel.
    loads: width in bits of loads that must be there. Tensor cores are the targets where they must be.
    loads_a_turn: loads from memory in one turn of the longest loop: where there are more, the compiler unrolled it, and
        its instructions are shared among so many turns. 0 where it is known not to.
    always: compiled for DEFAULT_TARGETS in every test run; all cases and targets in slow ones.
    """

    name: str
    launch: Callable[[], object]
    elements: Callable[[dict[str, Any]], int]
    loop: bool = False
    loads: tuple[int, ...] = ()
    loads_a_turn: int = 0
    tensor_cores: tuple[str, ...] = ()
    always: bool = False


def all_cases() -> list[Case]:
    """Cases of every file in `cases/`, by file name."""
    modules = sorted(module.name for module in pkgutil.iter_modules(cases.__path__))
    return [case for module in modules for case in importlib.import_module(f"{cases.__name__}.{module}").CASES]


def compile_case(case: Case, target: str) -> list[tuple[str, Launch, Code]]:
    """(name in the table, launch, code) of each kernel of a case; missing instructions are errors."""
    launches = record(case.launch, target)
    assert launches, f"{case.name} launched nothing"
    found = []
    for launch in launches:
        name = case.name if len({each.name for each in launches}) == 1 else f"{case.name}:{launch.name}"
        if name in [earlier for earlier, _, _ in found]:
            continue  # the same kernel once more, window after window say
        code = compile_launch(launch, target)
        found.append((name, launch, code))
    codes = [code for _, _, code in found]
    for width in case.loads:
        assert any(_loads(code, width) for code in codes), f"{case.name} on {target} has no loads of {width} bits"
    if target in case.tensor_cores:
        assert any(code.has(TENSOR_CORES[target]) for code in codes), f"{case.name} on {target}: no tensor cores"
    return found


def cost(case: Case, launch: Launch, code: Code) -> dict[str, float]:
    """Registers a thread, shared bytes a block, instructions that a thread issues for one element, bytes spilled."""
    counts = code.loops[0] if case.loop and code.loops else code.counts
    instructions = counts["total"] * code.threads / case.elements(launch.options)
    if case.loads_a_turn:
        loads = sum(count for name, count in counts.items() if name.startswith(LOADS))
        assert loads, f"{case.name} on {code.target}: the longest loop loads nothing"
        instructions *= case.loads_a_turn / loads
    found = {"registers": code.registers, "shared": code.shared, "instructions": round(instructions, 3)}
    return {**found, "spilled": code.spilled}


def allowed(name: str, target: str) -> dict[str, float]:
    """The most that each cost may be. A kernel that is not in the table fails: it has no budget yet."""
    columns = json.loads(TABLE.read_text()).get(name, {}).get(target)
    stem = name.split("/")[0]
    assert columns, f"{name} has no budget for {target}: write one with python -m support.gpu.budgets {stem}"
    return {"spilled": 0, **columns[VERSION]} if VERSION in columns else _of_another_version(columns)


def _of_another_version(columns: dict[str, dict[str, float]]) -> dict[str, float]:
    return {"spilled": 0, "instructions": MORE * max(columns[version]["instructions"] for version in EXACT)}


def _loads(code: Code, width: int) -> bool:
    nvidia, amd = WIDE_LOADS[width]
    if code.target.startswith("sm_"):
        return code.counts[nvidia] > 0
    return any("load" in name and amd in name for name in code.counts)


def write(names: list[str]) -> None:
    """Compile the named cases for every target and write their costs into the table."""
    everything = all_cases()
    known = {case.name for case in everything}
    for case in everything:
        if names and not case.name.startswith(tuple(names)):
            continue
        costs: dict[str, list[tuple[str, Launch, Code]]] = {}
        for target in TARGETS:
            with suppress(pytest.skip.Exception):  # older versions have no linker for AMD
                costs[target] = compile_case(case, target)
        table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
        for target, kernels in costs.items():
            for name, launch, code in kernels:
                found = cost(case, launch, code)
                print(name, target, *found.values(), flush=True)
                _note(table.setdefault(name, {}).setdefault(target, {}), found)
        TABLE.write_text(_format({name: row for name, row in sorted(table.items()) if name.split(":")[0] in known}))


def _note(columns: dict[str, dict[str, float]], found: dict[str, float]) -> None:
    """Make or drop this version's column; one in EXACT must not spill."""
    spilled = found.pop("spilled")
    columns.pop(VERSION, None)
    if VERSION in EXACT:
        assert spilled == 0, "the kernel spills"
        columns[VERSION] = found
    elif spilled or found["instructions"] > _of_another_version(columns)["instructions"]:
        columns[VERSION] = {**found, "spilled": spilled} if spilled else found


def _format(table: dict[str, Any]) -> str:
    """One line for each kernel and target."""

    def line(target: str, columns: dict[str, Any]) -> str:
        return f"  {json.dumps(target)}: {json.dumps(dict(sorted(columns.items())))}"

    def block(name: str, row: dict[str, Any]) -> str:
        return f"{json.dumps(name)}: {{\n" + ",\n".join(line(g, row[g]) for g in TARGETS if g in row) + "\n}"

    return "{\n" + ",\n".join(block(name, row) for name, row in table.items()) + "\n}\n"


if __name__ == "__main__":
    write(sys.argv[1:])

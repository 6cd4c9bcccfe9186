"""Every kernel compiled for GPUs that are not here: no spills, its instructions, its budget."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("triton", reason="needs Triton, which compiles for GPUs without one")

from support.gpu.budgets import DEFAULT_TARGETS, EXACT, TABLE, Case, all_cases, allowed, compile_case, cost
from support.gpu.stub_driver import TARGETS

CASES = all_cases()


def check(case: Case, target: str, worse: float = 1.0) -> None:
    """worse: how many times more instructions to pretend."""
    for name, launch, code in compile_case(case, target):
        found, most = cost(case, launch, code), allowed(name, target)
        found["instructions"] *= worse
        assert all(found[key] <= most[key] for key in most), f"{name} on {target}: {found}, allowed {most}"


def test_every_case_has_a_budget_for_every_gpu() -> None:
    table = json.loads(TABLE.read_text())
    for case in CASES:
        rows = [row for name, row in table.items() if name.split(":")[0] == case.name]
        assert rows, f"{case.name} has no budget"
        assert all(list(row) == list(TARGETS) for row in rows), f"{case.name} lacks a GPU"
        assert all(set(EXACT) <= set(columns) for row in rows for columns in row.values()), f"{case.name}: Triton"
    assert {name.split(":")[0] for name in table} <= {case.name for case in CASES}, "a budget belongs to no case"


def test_a_kernel_without_a_budget_fails() -> None:
    with pytest.raises(AssertionError, match="no budget for sm_90"):
        allowed("a kernel that is new", "sm_90")


def test_a_worse_kernel_fails() -> None:
    (case,) = (case for case in CASES if case.name == "decide/32")
    check(case, "sm_90")
    with pytest.raises(AssertionError, match="decide/32 on sm_90"):
        check(case, "sm_90", worse=1.3)


@pytest.mark.parametrize("target", DEFAULT_TARGETS)
@pytest.mark.parametrize("case", [case for case in CASES if case.always], ids=lambda case: case.name)
def test_within_budget(case: Case, target: str) -> None:
    check(case, target)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_within_budget_everywhere(case: Case, target: str) -> None:
    check(case, target)

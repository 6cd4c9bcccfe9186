"""Every kernel compiled for GPUs that are not here: no spills, its instructions, its budget."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="needs Triton, which compiles for GPUs without one")

from kernels.budgets import DEFAULT_TARGETS, Case, all_cases, allowed, compile_case, cost
from kernels.stub_driver import TARGETS

CASES = all_cases()


def check(case: Case, target: str) -> None:
    for name, launch, code in compile_case(case, target):
        found, most = cost(case, launch, code), allowed(name, target)
        assert all(found[key] <= most[key] for key in most), f"{name} on {target}: {found}, allowed {most}"


@pytest.mark.parametrize("target", DEFAULT_TARGETS)
@pytest.mark.parametrize("case", [case for case in CASES if case.always], ids=lambda case: case.name)
def test_within_budget(case: Case, target: str) -> None:
    check(case, target)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_within_budget_everywhere(case: Case, target: str) -> None:
    check(case, target)

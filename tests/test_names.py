"""Names of other tools: read and written from one table."""

from __future__ import annotations

import pytest

from umlite.class_table import ClassTable
from umlite.classes import PUBLISHED
from umlite.evaluation.naming import class_name
from umlite.names import NAMES, names_of


@pytest.mark.parametrize("tool", NAMES)
def test_what_is_written_is_read_back_as_the_same_class(tool: str) -> None:
    written = names_of(PUBLISHED, tool)
    assert list(written) == [c.name for c in PUBLISHED]
    assert len(set(written.values())) == len(PUBLISHED)
    assert {name: class_name(other) for name, other in written.items()} == {name: name for name in written}
    assert set(NAMES[tool]) <= set(written)


def test_a_class_that_has_the_name_already_keeps_it() -> None:
    table = ClassTable(["liver_tumor", "liver_lesion", "pancreas_tumor"])
    assert names_of(table, "abdomenatlas") == {
        "liver_tumor": "liver_tumor",
        "liver_lesion": "liver_lesion",
        "pancreas_tumor": "pancreatic_lesion",
    }

"""Tables and JSON as the text of files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as CSV with a line of column names. None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def json_text(content: Any) -> str:
    """Indented JSON with a final line break. Raises ValueError for NaN and infinity, which JSON cannot hold."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"

"""Examples in the pages of docs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from umlite.cli import app

DOCS = Path(__file__).parents[2] / "docs"


def examples(page: str, language: str) -> list[str]:
    """Blocks of a language, without their fences."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), flags=re.S)


def run_lines(block: str) -> str:
    """Run every command of an example. Returns what they print."""
    shown = ""
    for line in block.replace("\\\n", " ").strip().splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "umlite"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        shown += result.stdout
    return shown

"""How the package is built: what a room may import, and what its messages may speak of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "umlite"
FLAG = re.compile(r"(?<![\w-])--[a-z]|\s-[a-z]\b")


def library() -> list[Path]:
    """Every file of the package but for the command line's."""
    return [p for p in PACKAGE.rglob("*.py") if p.parent.name != "commands" and p.name != "cli.py"]


def strings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Every string of a file that is neither a docstring nor the text under a constant."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node


def test_messages_of_the_library_name_no_flags() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value!r}"
        for path in library()
        for node in strings(ast.parse(path.read_text()))
        if FLAG.search(str(node.value))
    ]
    assert not found, "\n".join(found)


def test_every_option_that_an_error_is_about_is_one_of_the_command_line() -> None:
    from umlite.cli import app, weights_app

    commands = [command for group in (app, weights_app) for command in group.registered_commands]
    known = {name for command in commands if command.callback for name in command.callback.__annotations__}
    asked: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "about":
                asked |= {part.value for part in ast.walk(node.value) if isinstance(getattr(part, "value", None), str)}
    assert len(asked) > 10
    assert asked <= known, asked - known

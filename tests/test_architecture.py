"""How the package is built: what a room may import, and what its messages may speak of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
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


def test_errors_are_about_options_that_exist() -> None:
    """Options of a command, or parameters of the library: only a misspelt one is neither."""
    from umlite.cli import app, weights_app

    commands = [command for group in (app, weights_app) for command in group.registered_commands]
    known = {name for command in commands if command.callback for name in command.callback.__annotations__}
    asked: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.arg):
                known.add(node.arg)
            elif isinstance(node, ast.keyword) and node.arg == "about":
                asked |= {part.value for part in ast.walk(node.value) if isinstance(getattr(part, "value", None), str)}
    assert len(asked) > 10
    assert asked <= known, asked - known


ROOT = PACKAGE.parent
PAGE = ROOT / "docs" / "architecture.md"


@dataclass(frozen=True)
class Import:
    """A module of umlite that another one imports, and whether only for its types."""

    importer: str
    imported: str
    types_only: bool


def modules() -> dict[str, Path]:
    """Files of the package by module name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports() -> list[Import]:
    """Every import of umlite by umlite, at the top of a file or inside a function.

    The package's own file is left out: everything may read the version there, and it opens api.py on first use.
    """
    known = modules()
    found = []

    def visit(node: ast.AST, name: str, types_only: bool) -> None:
        for child in ast.iter_child_nodes(node):
            inside = types_only or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test))
            targets = []
            if isinstance(child, ast.Import):
                targets = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom) and child.module:
                whole = [f"{child.module}.{alias.name}" for alias in child.names]
                targets = [target if target in known else child.module for target in whole]
            found.extend(Import(name, t, inside) for t in targets if t in known and t not in (name, "umlite"))
            visit(child, name, inside)

    for name, path in known.items():
        if name != "umlite":
            visit(ast.parse(path.read_text()), name, False)
    return found


def room(module: str) -> str:
    """The folder of a module, or the module itself at the top of the package."""
    return module.split(".")[1]


def circles(edges: set[tuple[str, str]]) -> set[str]:
    """What remains of a graph when everything without a way back has been taken away, again and again."""
    nodes = {node for edge in edges for node in edge}
    while True:
        onward, back = {a for a, b in edges if b in nodes}, {b for a, b in edges if a in nodes}
        kept = {node for node in nodes if node in onward and node in back}
        if kept == nodes:
            return nodes
        nodes, edges = kept, {(a, b) for a, b in edges if a in kept and b in kept}


def test_circles_are_found() -> None:
    assert circles({("a", "b"), ("b", "c"), ("c", "d")}) == set()
    assert circles({("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")}) == {"b", "c"}


def test_there_are_no_circles_of_files() -> None:
    assert len(imports()) > 500
    assert circles({(i.importer, i.imported) for i in imports() if not i.types_only}) == set()


def test_there_are_no_circles_of_rooms() -> None:
    edges = {(room(i.importer), room(i.imported)) for i in imports() if not i.types_only}
    assert circles({(a, b) for a, b in edges if a != b}) == set()


def rooms_in_order() -> list[str]:
    """The rooms of docs/architecture.md, from top to bottom."""
    tree = PAGE.read_text().split("umlite/\n", 1)[1].split("\ntests/", 1)[0]
    return [line.split()[0].rstrip("/").removesuffix(".py") for line in tree.splitlines()]


def test_every_room_stands_in_the_tree() -> None:
    paths = [p for p in PACKAGE.iterdir() if p.suffix == ".py" or (p.is_dir() and p.name != "__pycache__")]
    assert sorted(rooms_in_order()) == sorted(p.stem for p in paths if p.stem != "__init__")


def test_a_room_imports_only_from_rooms_below_it() -> None:
    order = rooms_in_order()
    upwards = {
        f"{i.importer} imports {i.imported}"
        for i in imports()
        if not i.types_only and order.index(room(i.imported)) < order.index(room(i.importer))
    }
    assert not upwards, "\n".join(sorted(upwards))


def defined(path: Path, name: str) -> bool:
    """Whether a file defines a function, a class, a method (Class.method) or a constant."""
    text = path.read_text()
    if path.suffix in (".c", ".h"):
        return re.search(rf"^[a-z].*\b{name}\(", text, flags=re.M) is not None
    scope: list[ast.stmt] = ast.parse(text).body
    for part in name.split("."):
        named = [
            node
            for node in scope
            if getattr(node, "name", None) == part
            or (isinstance(node, ast.Assign | ast.AnnAssign) and part in ast.unparse(node).split("=")[0].split(":")[0])
        ]
        if not named:
            return False
        scope = getattr(named[0], "body", [])
    return True


def test_every_hop_of_the_hot_path_exists() -> None:
    hops = re.findall(r"`(umlite/[\w/]+\.(?:py|c|h)):([\w.]+)`", PAGE.read_text())
    assert len(hops) > 40
    missing = [f"{file}:{name}" for file, name in hops if not defined(ROOT / file, name)]
    assert not missing, missing
    assert not defined(PACKAGE / "api.py", "Segmenter.nothing")

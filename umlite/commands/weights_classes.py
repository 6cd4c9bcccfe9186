"""`umlite weights drop|rename|merge`: classes taken out, renamed and put together; and what `show` says of a pack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from umlite.commands.help import PanelledCommand
from umlite.commands.options import JsonOption, OverwriteOption, output_option, path_argument
from umlite.commands.reporting import reported
from umlite.terminal import show, show_json, tell

_SHARED = (
    "Note: {file} holds the numbers of the network, whose licence applies to the whole file: {license}. A pack alone "
    "holds none of them."
)

FileArgument = Annotated[str, typer.Argument(metavar="NAME|FILE", help="Installed name, weights file or pack.")]
NewFile = Annotated[Path, output_option(help="File to write.")]


def drop(
    weights: FileArgument,
    classes: Annotated[str, typer.Argument(help="Names or groups, joined by commas.")],
    output: NewFile,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write weights or a pack without some classes."""
    with reported(as_json):
        from umlite.weights.store import resolve
        from umlite.weights.surgery import drop as without

        _told(output, without(resolve(weights), classes, output, overwrite=overwrite), as_json)


def rename(
    weights: FileArgument,
    old: Annotated[str, typer.Argument(help="Name of a class.")],
    new: Annotated[str, typer.Argument(help="Its new name.")],
    output: NewFile,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write weights or a pack with another name for a class."""
    with reported(as_json):
        from umlite.weights.store import resolve
        from umlite.weights.surgery import rename as renamed

        _told(output, renamed(resolve(weights), old, new, output, overwrite=overwrite), as_json)


def merge(
    files: Annotated[list[str], path_argument(metavar="FILE...", help="Packs, or one network's weights and packs.")],
    output: NewFile,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write one pack of several, or full weights of a network and packs."""
    with reported(as_json):
        from umlite.weights.store import resolve
        from umlite.weights.surgery import merge as merged

        _told(output, merged([resolve(file) for file in files], output, overwrite=overwrite), as_json)


def pack_facts(path: Path) -> dict[str, Any]:
    """What `show` says of a pack, ready for JSON. Raises WeightsError."""
    from umlite.files import file_sha256
    from umlite.weights.packs import read_pack_card

    card = read_pack_card(path)
    return {
        "file": str(path),
        "sha256": file_sha256(path),
        "megabytes": round(path.stat().st_size / 1e6, 3),
        "classes": card.classes,
        "replaces": card.replaces,
        "base": {"name": card.base_name, "sha256": card.base, "license": card.base_license},
        "data": card.data,
        "measured_dice": {name: list(numbers) for name, numbers in card.measured.items()},
        "license": card.license,
        "notice": card.notice,
        "history": [{"what": step.what, "sources": list(step.sources)} for step in card.history],
    }


def pack_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The same as words and their meaning."""
    base = facts["base"]
    dice = [f"{name} {m:.3f} ({low:.3f} to {high:.3f})" for name, (m, low, high) in facts["measured_dice"].items()]
    return [
        ("pack", f"{facts['file']} ({facts['megabytes']} MB)"),
        ("SHA-256", facts["sha256"]),
        ("classes", f"{len(facts['classes'])}: {', '.join(facts['classes'])}"),
        *([("replaces", ", ".join(facts["replaces"]))] if facts["replaces"] else []),
        ("network", f"{base['name'] or 'not named'}, SHA-256 of its numbers {base['sha256']}"),
        ("its licence", base["license"] or "not stated"),
        ("learned from", facts["data"] or "not stated"),
        ("Dice", ", ".join(dice) or "not measured"),
        ("licence", facts["license"] or "not stated"),
        *([("notice", facts["notice"])] if facts["notice"] else []),
        *(("history", step["what"]) for step in facts["history"]),
    ]


def _told(output: Path, classes: tuple[str, ...], as_json: bool) -> None:
    from umlite.weights.loading import read_card
    from umlite.weights.packs import is_pack

    whole = not is_pack(output)
    if whole:
        license = read_card(output).license or "not stated"
        tell(_SHARED.format(file=output, license=license))
    if as_json:
        show_json({"file": str(output), "pack": not whole, "classes": classes})
    else:
        show(f"Classes: {', '.join(classes)}")
        show(f"Written: {output}")


def add_to(app: typer.Typer) -> None:
    """Register the three commands."""
    for command in (drop, rename, merge):
        app.command(command.__name__, cls=PanelledCommand)(command)

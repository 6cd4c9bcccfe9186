"""`umlite weights`: install, convert and list weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from umlite.commands.help import PanelledCommand
from umlite.commands.options import JsonOption, OverwriteOption
from umlite.commands.reporting import reported
from umlite.errors import DownloadError, WeightsError
from umlite.terminal import confirmed, download_bar, show, show_json, show_table, tell

weights_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Install, convert and list weights.")


@weights_app.command("list", cls=PanelledCommand)
def list_weights(as_json: JsonOption = False) -> None:
    """Show the installed weights, their licences and where they are."""
    with reported(as_json):
        from umlite.weights.loading import read_card
        from umlite.weights.store import BUNDLED, installed, store_folder

        rows: list[dict[str, Any]] = []
        for name, path in {**installed(), **{n: p for n, p in BUNDLED.items() if p.exists()}}.items():
            try:
                card = read_card(path)
            except WeightsError as error:
                rows.append({"name": name, "file": str(path), "error": str(error)})
                continue
            rows.append(
                {
                    "name": name,
                    "backbone": card.network.backbone.kind,
                    "classes": len(card.classes),
                    "spacing_mm": card.spacing_mm,
                    "window": card.window,
                    "license": card.license,
                    "source_sha256": card.source.sha256,
                    "megabytes": round(path.stat().st_size / 1e6, 1),
                    "file": str(path),
                }
            )
        if as_json:
            show_json({"folder": str(store_folder()), "weights": rows})
            return
        if not installed():
            show(
                f"No weights in {store_folder()} yet: `umlite weights pull` or `umlite weights convert` installs some."
            )
        columns = ("name", "backbone", "classes", "license", "megabytes", "file")
        show_table(columns, [[str(row.get(c, "")) for c in columns] for row in rows])
        for row in rows:
            if "error" in row:
                show(f"{row['name']}: {row['error']}")


@weights_app.command("convert", cls=PanelledCommand)
def convert_weights(
    checkpoint: Annotated[Path, typer.Argument(help="Published or SuPreM checkpoint (.pth).")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; installed by default.")] = None,
    name: Annotated[str | None, typer.Option(help="Name to install under; the file's own by default.")] = None,
    class_names: Annotated[
        str | None, typer.Option(help="Names in the order of the heads, comma separated, where they are not published.")
    ] = None,
    license: Annotated[str | None, typer.Option(help="Licence of the checkpoint, kept in the file.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a checkpoint into one safetensors file with everything umlite needs to know about it."""
    with reported(as_json):
        from umlite.weights.installation import convert

        names = class_names.split(",") if class_names else None
        conversion = convert(checkpoint, output, name=name, class_names=names, license=license, overwrite=overwrite)
        card = conversion.card
        if as_json:
            show_json(
                {
                    "file": str(conversion.path),
                    "name": card.name,
                    "backbone": card.network.backbone.kind,
                    "generator": card.network.head.generator,
                    "classes": card.classes,
                    "license": card.license,
                    "source_sha256": card.source.sha256,
                    "unused_entries": len(conversion.dropped),
                }
            )
            return
        show(f"{card.network.backbone.kind}, {len(card.classes)} classes: {', '.join(card.classes)}")
        show(f"Licence: {card.license}")
        show(f"Written: {conversion.path}")
        if output is None:
            show(f"Use it:  umlite segment SCAN --weights {card.name}")


@weights_app.command("pull", cls=PanelledCommand)
def pull_weights(
    name: Annotated[str, typer.Argument(metavar="unet|swin_unetr")],
    accept_license: Annotated[bool, typer.Option("--accept-license", help="Do not ask; for scripts.")] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Download a published checkpoint from its hub, check it, convert it and install it."""
    with reported(as_json):
        from umlite.weights.installation import check_pull, license_notice, pull

        check_pull(name, overwrite=overwrite)
        tell(license_notice(name))
        if not accept_license and not confirmed("Do you accept this licence?"):
            raise WeightsError("The licence was not accepted: nothing was downloaded. (--accept-license in scripts.)")
        try:
            with download_bar(as_json) as progress:
                conversion, verified = pull(name, overwrite=overwrite, progress=progress)
        except DownloadError as error:
            raise WeightsError(f"{error} (umlite weights convert FILE.pth)") from error
        if not verified:
            tell("Warning: the hub published no checksum, so the download could not be checked.")
        if as_json:
            card = conversion.card
            show_json({"file": str(conversion.path), "name": card.name, "source": vars(card.source)})
        else:
            show(f"Installed {conversion.card.name}: {conversion.path}")

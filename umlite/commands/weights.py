"""`umlite weights`: install, convert, list and show weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umlite.commands.help import PanelledCommand
from umlite.commands.options import JsonOption, OverwriteOption, listed, output_option, path_argument
from umlite.commands.reporting import reported
from umlite.commands.weights_classes import add_to, pack_facts, pack_rows
from umlite.errors import DownloadError, WeightsError
from umlite.terminal import confirmed, download_bar, show, show_json, show_table, tell

if TYPE_CHECKING:
    from umlite.checks.smoke_test import SmokeTest
    from umlite.weights.model_card import ModelCard

weights_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Install, convert, list and show weights.")

CheckOption = Annotated[
    bool, typer.Option("--check/--no-check", help="Try the weights on a synthetic patient (seconds to a minute).")
]


@weights_app.command("list", cls=PanelledCommand)
def list_weights(as_json: JsonOption = False) -> None:
    """Show installed weights, their licences and files."""
    with reported(as_json):
        from umlite.weights.loading import read_card
        from umlite.weights.store import BUNDLED, installed, shown_store

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
            show_json({"folder": shown_store(), "weights": rows})
            return
        if not installed():
            show(
                f"No weights are installed yet (folder: {shown_store()}): `umlite weights pull` or "
                "`umlite weights convert` installs some."
            )
        columns = ("name", "backbone", "classes", "license", "megabytes", "file")
        show_table(columns, [[str(row.get(c, "")) for c in columns] for row in rows])
        for row in rows:
            if "error" in row:
                show(f"{row['name']}: {row['error']}")


@weights_app.command("show", cls=PanelledCommand)
def show_weights(
    weights: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Installed name or .safetensors file.")],
    as_json: JsonOption = False,
) -> None:
    """Show what weights are: network, classes, origin, licence, checksum."""
    with reported(as_json):
        from umlite.files import file_sha256
        from umlite.weights.loading import count_parameters, read_card
        from umlite.weights.packs import is_pack
        from umlite.weights.store import resolve

        path = resolve(weights)
        if is_pack(path):
            facts = pack_facts(path)
            show_json(facts) if as_json else show_table(("", ""), pack_rows(facts))
            return
        card, parameters = read_card(path), count_parameters(path)
        data = {
            "name": card.name,
            "file": str(path),
            "sha256": file_sha256(path),
            "megabytes": round(path.stat().st_size / 1e6, 1),
            "backbone": card.network.backbone.kind,
            "generator": card.network.head.generator,
            "parameters": parameters,
            "classes": card.classes,
            "spacing_mm": card.spacing_mm,
            "window": card.window,
            "hu_range": card.hu_range,
            "training": card.training,
            "license": card.license,
            "notice": card.notice,
            "source": vars(card.source),
        }
        if as_json:
            show_json(data)
        else:
            show_table(("", ""), _lines(card, data))


def _lines(card: ModelCard, data: dict[str, Any]) -> list[tuple[str, str]]:
    """What `show` says, as words and their meaning."""
    source = card.source
    converted = f"{source.file}, SHA-256 {source.sha256}" if source.file else "not stated"
    return [
        ("name", card.name),
        ("file", f"{data['file']} ({data['megabytes']} MB)"),
        ("SHA-256", data["sha256"]),
        ("backbone", card.network.backbone.kind),
        ("generator", card.network.head.generator),
        ("parameters", f"{data['parameters']:,}"),
        ("classes", f"{len(card.classes)}: {', '.join(card.classes)}"),
        ("voxels", f"{' x '.join(f'{s:g}' for s in card.spacing_mm)} mm"),
        ("window", f"{' x '.join(map(str, card.window))} voxels"),
        ("HU", f"{card.hu_range[0]:g} to {card.hu_range[1]:g}"),
        ("trained on", card.training or "not stated"),
        ("converted from", f"{converted} {source.url}".strip()),
        ("licence", card.license or "not stated"),
        *([("notice", card.notice)] if card.notice else []),
    ]


@weights_app.command("convert", cls=PanelledCommand)
def convert_weights(
    checkpoint: Annotated[Path, path_argument(help="Published, SuPreM or MONAI SegResNet checkpoint (.pth).")],
    output: Annotated[Path | None, output_option(help="File to write. Default: install it.")] = None,
    name: Annotated[str | None, typer.Option(help="Name to install under. Default: the file's name.")] = None,
    class_names: Annotated[
        str | None,
        typer.Option(
            help="Names with commas, or @FILE, in the order of the heads. Default: the published ones. "
            "A SegResNet has no default: 'published' says that its order is theirs."
        ),
    ] = None,
    license: Annotated[str | None, typer.Option(help="Licence of the checkpoint, which is kept in the file.")] = None,
    trained_on: Annotated[str, typer.Option(help="Data that it was trained on, kept in the file.")] = "",
    check: CheckOption = True,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a checkpoint into one safetensors file, and try it on a synthetic patient."""
    with reported(as_json):
        from umlite.weights.conversion import PUBLISHED_ORDER, UNSTATED_LICENSE, Origin
        from umlite.weights.installation import convert

        names = listed(class_names, "class_names")
        origin = Origin(license or UNSTATED_LICENSE, trained_on)
        conversion = convert(checkpoint, output, name=name, class_names=names, origin=origin, overwrite=overwrite)
        card = conversion.card
        if card.network.head.generator == "linear" and names == (PUBLISHED_ORDER,):
            tell(
                "Warning: that these are the published classes in their order is on your word. If the checkpoint "
                "orders them differently, masks have other organs' names."
            )
        tried = _tried(conversion.path) if check else None
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
                    "check": tried and tried.to_dict(),
                }
            )
            return
        show(f"{card.network.backbone.kind}, {len(card.classes)} classes: {', '.join(card.classes)}")
        show(f"Licence: {card.license}")
        show(f"Written: {conversion.path}")
        _show_trial(tried)
        if output is None:
            show(f"Use it:  umlite segment SCAN --weights {card.name}")


@weights_app.command("pull", cls=PanelledCommand)
def pull_weights(
    name: Annotated[str, typer.Argument(metavar="unet|swin_unetr")],
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the licence without asking.")
    ] = False,
    check: CheckOption = True,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Download a published checkpoint from its hub, convert it, install it and try it on a synthetic patient."""
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
        card, tried = conversion.card, _tried(conversion.path) if check else None
        if as_json:
            outcome = {"check": tried and tried.to_dict()}
            show_json({"file": str(conversion.path), "name": card.name, "source": vars(card.source), **outcome})
        else:
            show(f"Installed {card.name}: {conversion.path}")
            _show_trial(tried)


def _tried(path: Path) -> SmokeTest:
    """The outcome of the smoke test; warnings go to stderr."""
    from umlite.checks.smoke_test import smoke_test

    tried = smoke_test(path, notify=tell)
    for finding in tried.findings:
        tell(f"Warning: {finding.sentence}")
    if tried.findings:
        tell(
            "Warning: these weights may answer nonsense. Try them on a scan whose organs you know before you use them."
        )
    return tried


def _show_trial(tried: SmokeTest | None) -> None:
    if tried is None:
        return
    if tried.skipped:
        show(f"Not tried: {tried.skipped}.")
    elif not tried.findings:
        show(f"Tried:   {len(tried.found)} of {len(tried.dice)} large organs of a synthetic patient found")


add_to(weights_app)

"""The command line: parses, calls the API, shows the outcome. Heavy imports wait until a command needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umlite import __version__
from umlite.class_table import ClassTable
from umlite.classes import PUBLISHED
from umlite.commands.bench import bench
from umlite.commands.compare import compare
from umlite.commands.eval import evaluate
from umlite.commands.export import export
from umlite.commands.extend import extend
from umlite.commands.help import Commands, PanelledCommand
from umlite.commands.info import info
from umlite.commands.options import (
    JsonOption,
    OverwriteOption,
    PacksOption,
    WeightsOption,
    output_option,
    path_argument,
)
from umlite.commands.plan import plan
from umlite.commands.reporting import reported
from umlite.commands.reproduce import reproduce
from umlite.commands.segment import segment
from umlite.commands.series import series
from umlite.commands.verify import verify
from umlite.commands.watch import watch
from umlite.commands.weights import weights_app
from umlite.terminal import show, show_json, show_table, tell, window_bars

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run the Universal Model on CT scans. Research software, not a medical device.",
)
app.add_typer(weights_app, name="weights")
for command in (segment, watch, export, series, plan, verify, reproduce, bench):
    app.command(cls=PanelledCommand)(command)
app.command("eval", cls=PanelledCommand)(evaluate)
app.command(cls=PanelledCommand)(compare)
app.command(cls=PanelledCommand)(extend)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    if version:
        show(f"umlite {__version__}")
        raise typer.Exit


@app.command(cls=PanelledCommand)
def demo(
    scan: Annotated[Path | None, path_argument(help="NIfTI, NRRD or DICOM. Default: a synthetic phantom.")] = None,
    output: Annotated[Path, output_option(help="Folder for scan, masks and picture.")] = Path("demo"),
    weights: Annotated[str, typer.Option("--weights", help="Weights: installed name or .safetensors file.")] = "demo",
    seed: Annotated[int | None, typer.Option(help="Seed of the phantom.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Try the software: segment a phantom (or SCAN) with the bundled weights, and draw a picture."""
    with reported(as_json):
        from umlite.outputs.temporary import ensure_temporary_folder

        ensure_temporary_folder([output])
        from umlite.demo import DEMO_SEED, run_demo

        with window_bars(as_json) as progress_of:
            shown = run_demo(
                output,
                scan=scan,
                seed=DEMO_SEED if seed is None else seed,
                weights=weights,
                overwrite=overwrite,
                progress=progress_of(scan.name if scan else "phantom"),
                say=lambda text: None if as_json else tell(text),
            )
        result, dice = shown.result, shown.dice()
        if as_json:
            files = {"scan": str(shown.scan), "masks": str(shown.masks), "picture": str(shown.picture)}
            show_json({**result.to_dict(), "dice": {k: round(v, 4) for k, v in dice.items()}, **files})
            return
        for warning in result.warnings:
            tell(f"Warning: {warning}")
        volumes, truth = result.volumes_ml, shown.truth_ml()
        rows: list[tuple[str, ...]] = []
        for name, volume in volumes.items():
            if name in dice:
                rows.append((name, f"{volume:,.1f}", f"{truth[name]:,.1f}", f"{dice[name]:.3f}"))
            elif result.voxels[name]:
                rows.append((name, f"{volume:,.1f}"))
        columns = ("class", "volume (ml)", "truth (ml)", "Dice") if dice else ("class", "volume (ml)")
        show_table(columns, rows, right=(1, 2, 3))
        show(
            f"{result.windows} windows, {shown.seconds:.1f} s. Scan and masks are in {output}; picture: {shown.picture}"
        )


@app.command("classes", cls=PanelledCommand)
def list_classes(weights: WeightsOption = None, packs: PacksOption = None, as_json: JsonOption = False) -> None:
    """List classes, aliases and groups of the published model, or of --weights."""
    with reported(as_json):
        table = ClassTable(c.name for c in PUBLISHED)
        if weights is not None or packs is not None:
            from umlite.weights.loading import read_card
            from umlite.weights.packs import pack_paths
            from umlite.weights.store import resolve

            table = ClassTable(read_card(resolve(weights), pack_paths(packs)).classes)
        if as_json:
            fields = ("index", "name", "published", "kind", "hosts", "aliases", "color")
            show_json({"classes": [{f: getattr(c, f) for f in fields} for c in table], "groups": table.groups})
            return
        rows = [(str(c.index), c.name, c.kind, ", ".join(c.hosts), ", ".join(c.aliases)) for c in table]
        show_table(("", "class", "kind", "host organ", "also known as"), rows, whole=(0, 1))
        show_table(("group", "classes"), [(name, ", ".join(members)) for name, members in table.groups.items()])


app.command(cls=PanelledCommand)(info)

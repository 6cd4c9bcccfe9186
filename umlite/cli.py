"""The command line: parse, call the API, show the outcome. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umlite import __version__
from umlite.classes import PUBLISHED, ClassTable
from umlite.commands.bench import bench
from umlite.commands.options import (
    JsonOption,
    KernelsOption,
    OverlapOption,
    OverwriteOption,
    ThreadsOption,
    WeightsOption,
    load,
)
from umlite.commands.plan import plan
from umlite.commands.reporting import BAD_INPUT, DEFECT, reported
from umlite.commands.verify import verify
from umlite.errors import RequestError, UmliteError, WeightsError
from umlite.terminal import confirmed, download_bar, show, show_json, show_table, tell, window_bars

if TYPE_CHECKING:
    from umlite.batch import Outcome

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Run the Universal Model on CT scans. Research software, not a medical device.",
)
weights_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Install, convert and list weights.")
app.add_typer(weights_app, name="weights")
for command in (plan, verify, bench):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    if version:
        show(f"umlite {__version__}")
        raise typer.Exit


@app.command()
def segment(
    scans: Annotated[list[Path], typer.Argument(metavar="SCAN", help="NIfTI files (.nii, .nii.gz).")],
    classes: Annotated[
        str | None, typer.Option("--classes", "-c", help="Names or groups, comma separated; all by default.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Folder for one mask per class, or FILE.nii.gz for one label map."),
    ] = None,
    weights: WeightsOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    engine: Annotated[str, typer.Option(help="fast or reference.")] = "fast",
    kernels: KernelsOption = "auto",
    threads: ThreadsOption = None,
    overlap: OverlapOption = 0.5,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile the network: for many scans.")] = False,
    batch: Annotated[int | None, typer.Option(help="Windows at a time.")] = None,
    label_map: Annotated[bool, typer.Option("--label-map", help="One label map per scan in the folder.")] = False,
    overwrite: OverwriteOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Segment CT scans: masks on each scan's own grid."""
    outcomes: list[Outcome] = []
    silent = quiet or as_json
    with reported(as_json, lambda: {"scans": [_as_dict(outcome) for outcome in outcomes]} if outcomes else {}):
        from umlite.batch import plan_jobs, run_jobs

        if output == "":
            raise RequestError("The output (-o) is empty: expected a folder or a file, '.' for this folder.")
        jobs = plan_jobs(scans, None if output is None else Path(output), label_map=label_map)
        segmenter = load(weights, device, engine, kernels, threads, compile=compile, batch=batch)
        with window_bars(silent) as progress_of:
            running = run_jobs(segmenter, jobs, classes, overlap=overlap, overwrite=overwrite, progress_of=progress_of)
            for outcome in running:
                outcomes.append(outcome)
                _show_outcome(outcome, silent)
        code = _exit_code(outcomes)
        if as_json:
            chosen = {"engine": segmenter.plan.engine, "device": str(segmenter.plan.device)}
            show_json({"umlite": __version__, **chosen, "scans": [_as_dict(o) for o in outcomes], "exit_code": code})
        elif len(outcomes) > 1 and not quiet:
            done = sum(outcome.error is None for outcome in outcomes)
            show(f"{done} of {len(outcomes)} scans segmented.")
    if code:
        raise typer.Exit(code)


@app.command()
def demo(
    scan: Annotated[Path | None, typer.Argument(help="A NIfTI scan; a synthetic phantom by default.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for scan, masks and picture.")] = Path("demo"),
    weights: Annotated[str, typer.Option("--weights", help="Installed name or .safetensors file.")] = "demo",
    seed: Annotated[int | None, typer.Option(help="Of the phantom.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Try the software: segment a phantom (or SCAN) with the bundled weights; volumes, Dice, a picture."""
    with reported(as_json):
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


@app.command("classes")
def list_classes(weights: WeightsOption = None, as_json: JsonOption = False) -> None:
    """List the classes, their other names and the groups (of the published model, or of --weights)."""
    with reported(as_json):
        table = ClassTable(c.name for c in PUBLISHED)
        if weights is not None:
            from umlite.weights.loading import read_manifest
            from umlite.weights.store import resolve

            table = ClassTable(read_manifest(resolve(weights)).classes)
        if as_json:
            fields = ("index", "name", "published", "kind", "hosts", "aliases", "color")
            show_json({"classes": [{f: getattr(c, f) for f in fields} for c in table], "groups": table.groups})
            return
        rows = [(str(c.index), c.name, c.kind, ", ".join(c.hosts), ", ".join(c.aliases)) for c in table]
        show_table(("", "class", "kind", "host organ", "also known as"), rows, whole=(0, 1))
        show_table(("group", "classes"), [(name, ", ".join(members)) for name, members in table.groups.items()])


@app.command()
def info(
    device: Annotated[str, typer.Option(help="As for segment.")] = "auto",
    engine: Annotated[str, typer.Option(help="As for segment.")] = "fast",
    kernels: KernelsOption = "auto",
    threads: ThreadsOption = None,
    compile: Annotated[bool, typer.Option("--compile", help="As for segment.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show versions, the device, and which engine would run and why."""
    with reported(as_json):
        import platform

        import nibabel
        import numpy
        import torch

        from umlite.inference.plan import choose_plan
        from umlite.weights.store import installed, store_folder

        chosen = choose_plan(engine, device, compile=compile, kernels=kernels, threads=threads, notify=tell)
        facts = {
            "umlite": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "nibabel": nibabel.__version__,
            "system": platform.platform(),
            "processor": torch.backends.cpu.get_cpu_capability(),
            "threads": chosen.threads,
            "device": str(chosen.device),
            "engine": chosen.engine,
            "kernels": chosen.kernels,
            "reasons": list(chosen.reasons),
            "weights_folder": str(store_folder()),
            "weights": list(installed()),
        }
        if as_json:
            show_json(facts)
            return
        shown = {k: "\n".join(v) if isinstance(v, list) else str(v) for k, v in facts.items()}
        show_table(("", ""), [(key.replace("_", " "), value or "none") for key, value in shown.items()])


@weights_app.command("list")
def list_weights(as_json: JsonOption = False) -> None:
    """Show the installed weights, their licences and where they are."""
    with reported(as_json):
        from umlite.weights.loading import read_manifest
        from umlite.weights.store import BUNDLED, installed, store_folder

        rows: list[dict[str, Any]] = []
        for name, path in {**installed(), **{n: p for n, p in BUNDLED.items() if p.exists()}}.items():
            try:
                manifest = read_manifest(path)
            except WeightsError as error:
                rows.append({"name": name, "file": str(path), "error": str(error)})
                continue
            rows.append(
                {
                    "name": name,
                    "backbone": manifest.network.backbone.kind,
                    "classes": len(manifest.classes),
                    "spacing_mm": manifest.spacing_mm,
                    "window": manifest.window,
                    "license": manifest.license,
                    "source_sha256": manifest.source.sha256,
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


@weights_app.command("convert")
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
        manifest = conversion.manifest
        if as_json:
            show_json(
                {
                    "file": str(conversion.path),
                    "name": manifest.name,
                    "backbone": manifest.network.backbone.kind,
                    "generator": manifest.network.head.generator,
                    "classes": manifest.classes,
                    "license": manifest.license,
                    "source_sha256": manifest.source.sha256,
                    "unused_entries": len(conversion.dropped),
                }
            )
            return
        show(f"{manifest.network.backbone.kind}, {len(manifest.classes)} classes: {', '.join(manifest.classes)}")
        show(f"Licence: {manifest.license}")
        show(f"Written: {conversion.path}")
        if output is None:
            show(f"Use it:  umlite segment SCAN --weights {manifest.name}")


@weights_app.command("pull")
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
        with download_bar(as_json) as progress:
            conversion, verified = pull(name, overwrite=overwrite, progress=progress)
        if not verified:
            tell("Warning: the hub published no checksum, so the download could not be checked.")
        if as_json:
            manifest = conversion.manifest
            show_json({"file": str(conversion.path), "name": manifest.name, "source": vars(manifest.source)})
        else:
            show(f"Installed {conversion.manifest.name}: {conversion.path}")


def _exit_code(outcomes: list[Outcome]) -> int:
    failed = [outcome.error for outcome in outcomes if outcome.error]
    if not failed:
        return 0
    return BAD_INPUT if all(isinstance(error, UmliteError) for error in failed) else DEFECT


def _show_outcome(outcome: Outcome, silent: bool) -> None:
    scan, result = outcome.job.scan, outcome.result
    if result is None:
        text = str(outcome.error) or repr(outcome.error)
        tell(f"Error: {text if text.startswith(str(scan)) else f'{scan}: {text}'}")
        if not isinstance(outcome.error, UmliteError):
            traceback.print_exception(outcome.error, file=sys.stderr)
        return
    for warning in result.warnings:
        tell(f"Warning: {scan.name}: {warning}")
    if silent:
        return
    for note in result.notes:
        tell(f"Note: {scan.name}: {note}")
    volumes = result.volumes_ml
    rows = [(c.name, f"{volumes[c.name]:,.1f}", f"{result.voxels[c.name]:,}") for c in result.classes]
    show_table(("class", "volume (ml)", "voxels"), rows, right=(1, 2), title=scan.name)
    show(f"{result.windows} windows, {sum(result.timings.values()):.1f} s. Written to {outcome.job.output}")


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    if outcome.result is None:
        return {"scan": str(outcome.job.scan), "error": str(outcome.error) or repr(outcome.error)}
    return {**outcome.result.to_dict(), "files": [str(file) for file in outcome.files]}

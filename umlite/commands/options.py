"""Options of the command line: each is declared here once, and a command takes them as typed records."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.models import OptionInfo

from umlite.class_table import class_words
from umlite.commands.reporting import reported
from umlite.engines.options import EngineOptions
from umlite.errors import OutputError, RequestError
from umlite.files import expanded, open_file, output_path
from umlite.machine.imports import quick_imports
from umlite.machine.memory import check_address_space
from umlite.machine.sizes import parse_size
from umlite.products.wanted import Wanted
from umlite.request import Request
from umlite.terminal import tell

if TYPE_CHECKING:
    from umlite.api import Segmenter

WHAT, OUTPUT, BESIDE = "What", "Output", "Besides the masks"
SEVERAL, HOW_MUCH, EXPERT = "Several scans", "How much", "Expert"

_FILES = (".csv", ".dcm", ".gz", ".htm", ".html", ".json", ".jsonl", ".nii", ".nrrd", ".pdf", ".png", ".txt", ".zip")
"""Endings that folders do not have."""


def _given(path: Any) -> Any:
    """A path or paths of the command line to read from, in the type that they came in."""
    if path is None:
        return None
    return [_given(each) for each in path] if isinstance(path, list) else type(path)(expanded(path))


def _to_write(text: str) -> Path:
    """A path to write to. An empty one is what a script's unset variable leaves, not this folder."""
    if not text:
        raise typer.BadParameter("The output is empty: expected a folder or a file, '.' for this folder.")
    try:
        return output_path(text)
    except OutputError as error:
        raise typer.BadParameter(str(error)) from error


def _to_fill(text: str) -> Path:
    """A folder to write to, which no file's name is taken for."""
    folder = _to_write(text)
    if folder.name.lower().endswith(_FILES) and not folder.is_dir():
        raise typer.BadParameter(f"{text} is the name of a file: expected a folder.")
    return folder


path_argument = functools.partial(typer.Argument, readable=False, callback=_given)
"""A file that the command itself opens and reports on: Typer would refuse all files for one that is not readable."""
path_option = functools.partial(typer.Option, callback=_given)
output_option = functools.partial(
    typer.Option, "--output", "-o", parser=_to_write, metavar="PATH", rich_help_panel=OUTPUT
)
folder_option = functools.partial(output_option, parser=_to_fill, metavar="FOLDER")

ScanArgument = Annotated[Path, path_argument(metavar="SCAN", help="A NIfTI file, or DICOM of one CT series.")]
WeightsOption = Annotated[
    str | None, typer.Option("--weights", help="Weights: installed name or .safetensors file.", rich_help_panel=WHAT)
]
PacksOption = Annotated[
    str | None,
    typer.Option("--with", help="Packs of added classes, joined by commas.", metavar="FILES", rich_help_panel=WHAT),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print only one JSON object on stdout.", rich_help_panel=OUTPUT)
]
LabelMapOption = Annotated[
    bool, typer.Option("--label-map", help="The same as --format label-map.", rich_help_panel=OUTPUT)
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show only warnings and errors.", rich_help_panel=OUTPUT)
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.", rich_help_panel=OUTPUT)]
MaskClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes", "-c", help="Names or groups with commas, or @FILE. Default: all in both.", rich_help_panel=WHAT
    ),
]
LabelNamesOption = Annotated[
    str | None,
    path_option(
        "--names",
        help='JSON file that names the labels of label maps, or "published".',
        rich_help_panel=WHAT,
        metavar="FILE",
    ),
]


def _option(text: str, panel: str, *names: str, kind: Any = None, metavar: str | None = None) -> tuple[Any, OptionInfo]:
    return kind, typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar)


OPTIONS: dict[str, tuple[Any, OptionInfo]] = {
    "classes": _option(
        "Names or groups with commas, or @FILE. Default: all.", WHAT, "--classes", "-c", kind=str | None
    ),
    "format": _option(
        "Format: masks, label-map, seg-nrrd, umlite or dicom-seg. Default: by the output's name.",
        OUTPUT,
        kind=str | None,
    ),
    "layout": _option("Layout of folders: flat, atlas or bids.", OUTPUT),
    "names": _option("Names of classes: umlite, abdomenatlas or totalsegmentator.", OUTPUT),
    "seg": _option("DICOM-SEG encoding: binary (default) or labelmap.", OUTPUT, kind=str | None),
    "checks": _option("Check the result against itself.", OUTPUT, "--checks/--no-checks"),
    "probabilities": _option(
        "Probabilities, CLASS_probability.nii.gz, before post-processing.", BESIDE, "--probabilities"
    ),
    "color_table": _option("Colour table of a label map, NAME.ctbl.", BESIDE, "--color-table"),
    "statistics": _option("Volumes, HU, places and lesions, as CSV and JSON.", BESIDE, "--statistics"),
    "mesh": _option("Surface of each class: stl or glb.", BESIDE, kind=str | None),
    "preview": _option("Slices with outlines: a .png file, or folder.", BESIDE, kind=str | None, metavar="PATH"),
    "report": _option("Page with pictures: an .html file, or folder.", BESIDE, kind=str | None, metavar="PATH"),
    "sr": _option("DICOM report of measurements, beside DICOM-SEG.", BESIDE, "--sr"),
    "key_images": _option("Slices of lesions as DICOM images, with a note.", BESIDE, "--key-images"),
    "manifest": _option("Run manifest: a .json file, or folder.", BESIDE, kind=str | None, metavar="PATH"),
    "force_geometry": _option("Segment a scan whose size no body has.", EXPERT, "--force-geometry"),
    "windows": _option("Windows to run: all, or adaptive to skip those that cannot hold the classes.", HOW_MUCH),
    "max_ram": _option("Memory limit, such as 3GB or 800MB.", HOW_MUCH, kind=str | None, metavar="SIZE"),
    "max_vram": _option("GPU memory limit.", HOW_MUCH, kind=str | None, metavar="SIZE"),
    "device": _option("Device: auto, cpu, cuda, cuda:1, ...", EXPERT),
    "engine": _option("Engine: fast or reference.", EXPERT),
    "kernels": _option("Kernels: native, torch or auto (native if available).", EXPERT),
    "precision": _option("GPU precision: auto, float16, bfloat16 or float32.", EXPERT),
    "threads": _option("CPU threads. Default: OMP_NUM_THREADS, else all cores.", EXPERT),
    "overlap": _option("Overlap of neighbouring windows (0 <= x < 1).", EXPERT),
    "batch": _option("Number of windows at a time. Default: the best for the device.", EXPERT),
    "compile": _option("Compile the network with torch.compile. Pays over many scans.", EXPERT, "--compile"),
}
"""Options for the fields of the RECORDS: the type on the command line, if it differs, and the help."""
IMPLIED = ("details", "surfaces")
"""Fields without an option of their own, since other options imply them."""

RECORDS = (EngineOptions, Request, Wanted)
MOST_LIST_BYTES = 1 << 20
SIZES = ("max_ram", "max_vram")


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take EngineOptions, Request and Wanted: every field becomes an option of its own.

    A parameter annotated with one of them gets the record. `parameter: Annotated[Request, "classes", "overlap"]`
    offers only these fields. Errors of options are reported like those of the command.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    records: dict[str, tuple[type, list[str]]] = {}
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        record, *some = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
        if record not in RECORDS:
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        fields = [field for field in dataclasses.fields(record) if field.name not in IMPLIED]
        fields = [field for field in fields if not some or field.name in some]
        records[parameter.name] = record, [field.name for field in fields]
        parameters += [_parameter(field, typing.get_type_hints(record)[field.name]) for field in fields]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        with reported(bool(given.get("as_json"))):
            check_address_space()
            for name, (record, fields) in records.items():
                given[name] = _record(record, {field: given.pop(field) for field in fields})
            command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    del run.__wrapped__  # Typer would read the annotations of what is wrapped
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def load(
    weights: str | Path | None,
    options: EngineOptions,
    output: Path | None = None,
    packs: str | Sequence[Path] | None = None,
) -> Segmenter:
    """Load the segmenter that the options ask for, and give its threads to torch's own operations too.

    Where the system has no temporary folder, one in the cache folder or beside `output` takes its place.
    """
    from umlite.machine.cache_folder import cache_folder
    from umlite.outputs.temporary import ensure_temporary_folder

    places = [output] if output is not None else []
    with contextlib.suppress(OSError):
        places.append(cache_folder())
    ensure_temporary_folder(places)
    with quick_imports():
        import torch

        from umlite.api import Segmenter
        from umlite.weights.packs import pack_paths

    segmenter = Segmenter(
        weights, options, packs=pack_paths(packs) if isinstance(packs, str) else packs or (), notify=tell
    )
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    return segmenter


def _parameter(field: dataclasses.Field[Any], hint: Any) -> inspect.Parameter:
    kind, option = OPTIONS[field.name]
    annotation: Any = Annotated[kind or hint, option]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=annotation)


def with_label_map(wanted: Wanted, label_map: bool) -> Wanted:
    """What is wanted, as a label map if that was asked for. Raises RequestError where another format was too."""
    if not label_map:
        return wanted
    if wanted.format not in (None, "label-map"):
        raise RequestError(
            f"A label map and the format {wanted.format} were asked for: choose one of them.",
            about=("label_map", "format"),
        )
    return dataclasses.replace(wanted, format="label-map")


def listed(classes: str | None, about: str = "classes") -> tuple[str, ...] | None:
    """The words of a list of classes, or of the file that it names after an @. `about`: the option.

    Raises RequestError for a file that cannot be read.
    """
    return None if classes is None else tuple(class_words(_text_of(classes, about)))


def _text_of(classes: str, about: str) -> str:
    if not classes.startswith("@"):
        return classes
    path = expanded(classes[1:])
    try:
        with open_file(path) as file:
            text = file.read(MOST_LIST_BYTES + 1)
        if len(text) > MOST_LIST_BYTES:
            raise ValueError("it is too long")
        return text.decode("utf-16" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or ("it is no text" if isinstance(error, UnicodeError) else error)
        raise RequestError(
            f"Cannot read classes from {path} ({reason}): expected a text file of names, one per line.",
            about=about,
        ) from error


def _record(record: type, values: dict[str, Any]) -> Any:
    for name in SIZES:
        if isinstance(values.get(name), str):
            try:
                values[name] = parse_size(values[name])
            except RequestError as error:
                raise RequestError(str(error), about=name) from None
    if record is Request:
        return Request.of(listed(values.pop("classes", None)), **values)
    return record(**values)

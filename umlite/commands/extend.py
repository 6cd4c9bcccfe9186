"""`umlite extend`: teach a network a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umlite.commands.options import (
    WHAT,
    JsonOption,
    OverwriteOption,
    WeightsOption,
    load,
    output_option,
    path_argument,
    path_option,
)
from umlite.commands.reporting import reported
from umlite.engines.options import EngineOptions
from umlite.errors import RequestError
from umlite.files import check_free
from umlite.terminal import show, show_json, show_table, tell

if TYPE_CHECKING:
    from umlite.api import Segmenter
    from umlite.extension.extend import Extension, Task
    from umlite.extension.labelled import Labelled
    from umlite.extension.unchanged import HashedLogits
    from umlite.weights.packs import Pack

EXPERT = "Expert"


def extend(
    data: Annotated[
        Path,
        path_argument(metavar="DATA", help="Labelled scans: cases, an nnU-Net data set, or CSV."),
    ],
    name: Annotated[str, typer.Option("--name", help="Name of the new class.", rich_help_panel=WHAT)],
    output: Annotated[Path, output_option(help="Pack to write (.pack.safetensors).")],
    weights: WeightsOption = None,
    name_in_data: Annotated[
        str | None, typer.Option("--name-in-data", help="Its name in the data, if another.", rich_help_panel=WHAT)
    ] = None,
    replaces: Annotated[
        bool, typer.Option("--replace", help="Correct a class that the network has.", rich_help_panel=WHAT)
    ] = False,
    license: Annotated[str, typer.Option("--license", help="Licence of the pack.", rich_help_panel=WHAT)] = "",
    embedding: Annotated[
        Path | None, path_option("--embedding", help="Text features to start from (.npy).", rich_help_panel=EXPERT)
    ] = None,
    text: Annotated[
        bool, typer.Option("--text", help="Start from the text of its name too.", rich_help_panel=EXPERT)
    ] = False,
    held_out: Annotated[
        float, typer.Option("--held-out", help="Share of scans that judge.", rich_help_panel=EXPERT)
    ] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all random numbers.", rich_help_panel=EXPERT)] = 0,
    work: Annotated[
        Path | None,
        path_option("--work", help="Folder that keeps features. Default: OUTPUT.work.", rich_help_panel=EXPERT),
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="CPU threads.", rich_help_panel=EXPERT)] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Teach a network a class from labelled scans. All its other classes stay the same to the bit."""
    with reported(as_json):
        from umlite.extension.extend import Task
        from umlite.extension.labelled import find_labelled
        from umlite.extension.measured import held_out_dice, interval
        from umlite.extension.samples import Sampler
        from umlite.extension.unchanged import hash_scans
        from umlite.weights.packs import Pack, write_pack

        if not 0 < held_out < 1:
            raise RequestError(f"Expected a share above 0 and below 1, found {held_out}.", about="held_out")
        if text and embedding is not None:
            raise RequestError(
                "Expected the text of the name or text features from a file, found both.", about=("text", "embedding")
            )
        check_free([output], overwrite=overwrite)
        scans, others = find_labelled(data, name_in_data or name)
        tell(f"{len(scans)} labelled scans" + (f"; {others} more are not labelled with it" if others else ""))
        options, folder = EngineOptions(device="cpu", threads=threads), work or output.with_name(f"{output.name}.work")
        features = None if embedding is None else _embedding(embedding)
        task = Task(name, replaces, held_out, seed, features, text, license)
        write = partial(write_pack, output, overwrite=overwrite)
        found, before = _learned(load(weights, options, output.parent), folder, scans, task, write)
        extended = load(weights, options, None, [output])
        used, held = ([one for one in scans if one.name in cases] for cases in (found.used, found.held_out))
        sampler = Sampler(extended, found.pack.card.base, folder, seed)
        same = before.compare(hash_scans(extended, len(before.names), used, sampler))
        if not same.passed:  # no assert statement, which `python -O` leaves out
            raise AssertionError(str(same))
        tell(f"{same}.")
        tell(f"Measuring on {len(held)} held-out scans")
        new = found.pack.card.classes[0]
        values = held_out_dice(extended, new, held)
        card = replace(
            found.pack.card,
            measured={new: interval(values)} if values else {},
            data=f"{found.pack.card.data}; {same}",
        )
        write_pack(output, Pack(card, found.pack.weight, found.pack.bias), overwrite=True)
        if as_json:
            measured = {"held_out_dice": [round(value, 4) for value in values], "unchanged": same.to_dict()}
            show_json({"file": str(output), **found.to_dict(), **measured})
        else:
            _show(found, values, output)


def _learned(
    base: Segmenter, folder: Path, scans: list[Labelled], task: Task, write: Callable[[Pack], None]
) -> tuple[Extension, HashedLogits]:
    """What was learned, and the logits before. `base` goes with the return: one network at a time is in memory."""
    from umlite.extension.extend import Teacher
    from umlite.extension.samples import Sampler
    from umlite.extension.unchanged import hash_scans

    teacher = Teacher(base, folder, tell)
    try:
        found = teacher.teach(scans, task)
    except KeyboardInterrupt:
        tell(f"The features so far are kept in {folder}: the same command goes on from there.")
        raise
    write(found.pack)  # kept before it is compared and measured, which takes a while
    used = [one for one in scans if one.name in found.used]
    return found, hash_scans(base, len(base.classes), used, Sampler(base, teacher.base, folder, task.seed))


def _show(found: Extension, values: list[float], output: Path) -> None:
    points = [(str(step), f"{loss:.3f}", f"{dice:.3f}") for step, loss, dice in found.curve.points if step % 100 == 0]
    show_table(("step", "loss", "Dice of held-out samples"), points, right=(0, 1, 2), title=f"From {found.curve.start}")
    if found.nearest:
        nearest = ", ".join(f"{name} ({dice:.2f})" for name, dice in found.nearest)
        show(f"Existing classes that answer most like it: {nearest}")
    if values:
        mean = sum(values) / len(values)
        show(f"Dice of {len(values)} held-out scans: mean {mean:.3f}, {min(values):.3f} to {max(values):.3f}")
    show(f"Written: {output}. Use it:  umlite segment SCAN --with {output}")


def _embedding(path: Path) -> Any:
    import numpy as np
    import torch

    try:
        numbers = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise RequestError(
            f"Cannot read {path} ({error!s:.100}): expected numbers as .npy.", about="embedding"
        ) from error
    if numbers.ndim != 1 or numbers.dtype.kind != "f" or not np.isfinite(numbers).all():
        raise RequestError(f"{path} holds {numbers.dtype} of {numbers.shape}: expected one row.", about="embedding")
    return torch.from_numpy(numbers.astype(np.float32))

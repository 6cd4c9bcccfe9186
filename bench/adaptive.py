"""Adaptive windows against all windows over margins: windows run, Dice, lost lesions, and the curve for the docs.

`python -m bench.adaptive [SCAN ...] [--phantoms SEED ...] [--results FILE] [--plot FILE]`

Every window of a scan is computed once and kept, so that all margins cost one run. Masks are compared on the model's
grid, after post-processing. Scans that FILE holds for these weights are not computed again. A plot needs matplotlib.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import torch
from torch import Tensor

from umlite import Segmenter
from umlite.engines.engine import Engine
from umlite.files import file_sha256
from umlite.masks.bitmask import BitMask
from umlite.masks.postprocessing import needed_classes, postprocess
from umlite.phantom import make_phantom
from umlite.results.metrics import dice
from umlite.sweep.adaptive.decide import decide_adaptively
from umlite.sweep.sweep import decide_volume
from umlite.sweep.window_field import lay_out_windows
from umlite.windows import Size, window_at

REQUESTS = ("liver,pancreas_tumor", "bladder", "liver_tumor", "spleen,aorta")
MARGINS = (0.0, 1.0, 2.0, 4.0, 8.0)
SEEDS = (1_000_106, 1_000_123, 1_000_104)
"""Phantoms that no training saw: two of chest, abdomen and pelvis, one of them with a tumour of the pancreas and one of
the liver, and one of abdomen and pelvis with two tumours of the pancreas."""
LEAST_LESION_ML = 0.5


class Remembering(Engine):
    """Another engine whose windows are computed once. classes: positions of heads that it answers for."""

    def __init__(self, engine: Engine, classes: Sequence[int]) -> None:
        super().__init__(engine.card, engine.setup)
        self._engine, self._places = engine, {c: k for k, c in enumerate(classes)}
        self._logits: dict[Size, Tensor] = {}

    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        return self._engine.window_logits(windows, classes)

    @torch.inference_mode()
    def add_windows(
        self, volume: Tensor, starts: Sequence[Size], classes: Sequence[int], sums: Tensor, origin: Size
    ) -> None:
        for start in starts:
            if start not in self._logits:
                window = volume[window_at(start, self.card.window)][None, None]
                self._logits[start] = self._engine.window_logits(window, list(self._places))[0]
            self.add_logits(self._logits[start][[self._places[c] for c in classes]], start, sums, origin)


def compare(segmenter: Segmenter, voxels: Tensor, margins: Sequence[float]) -> Iterator[dict[str, Any]]:
    """A row a request and margin.

    share: of the windows. floor: the share that a run needs which knows all answers beforehand: windows that touch a
    voxel of the result. dice: of each class that all windows find. lost: lesions over 0.5 ml without one voxel found.
    """
    known = segmenter.classes.names
    requests = {r: [c.name for c in segmenter.classes.resolve(r)] for r in REQUESTS}
    needed = {r: needed_classes(names, known) for r, names in requests.items()}
    places = {name: segmenter.classes.head_of(name) for names in needed.values() for name in names}
    engine = Remembering(segmenter.engine, sorted(places.values()))
    voxel_ml = float(np.prod(segmenter.card.spacing_mm)) / 1000
    for request, requested in requests.items():
        heads = [places[name] for name in needed[request]]
        bits, counts, _ = decide_volume(engine, voxels, heads, needed[request], 0.5)
        expected = postprocess(bits, requested)[0]
        floor = len(_touching(segmenter, voxels, expected)) / max(counts.run, 1)
        for margin in margins:
            bits, ran, undecided = decide_adaptively(engine, voxels, heads, needed[request], 0.5, margin=margin)
            found = postprocess(bits, requested)[0]
            present = [name for name in requested if expected.mask(name).any()]
            yield {
                "request": request,
                "margin": margin,
                "run": ran.run,
                "total": ran.total,
                "share": round(ran.run / max(counts.run, 1), 4),
                "floor": round(floor, 4),
                "undecided_share": round(undecided / max(voxels.numel(), 1), 4),
                "dice": {name: round(float(dice(found.mask(name), expected.mask(name))), 5) for name in present},
                "lost": sum(lost_lesions(found, expected, n, voxel_ml) for n in requested if n.endswith("_tumor")),
            }


def lost_lesions(found: BitMask, expected: BitMask, name: str, voxel_ml: float) -> int:
    """Components of `expected` over 0.5 ml of which `found` has no voxel."""
    labels, count = cc3d.connected_components(np.ascontiguousarray(expected.mask(name)), return_N=True)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    hit = np.bincount(labels[found.mask(name)], minlength=count + 1)
    large = sizes * voxel_ml > LEAST_LESION_ML
    return int(np.count_nonzero(large[1:] & (hit[1:] == 0)))


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Share of the windows, and 1 - the lowest Dice, over margins; a line a scan and request."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(REQUESTS), figsize=(3.2 * len(REQUESTS), 5.4), sharex=True, sharey="row")
    for column, request in enumerate(REQUESTS):
        shares, losses = axes[0, column], axes[1, column]
        for number, scan in enumerate(dict.fromkeys(row["scan"] for row in rows)):
            mine = [row for row in rows if row["scan"] == scan and row["request"] == request]
            margins = [row["margin"] for row in mine]
            shares.plot(margins, [row["share"] for row in mine], marker="o", color=f"C{number}", label=scan)
            shares.axhline(mine[0]["floor"], color=f"C{number}", linestyle=":", linewidth=1)
            worst = [1 - min(row["dice"].values(), default=1.0) for row in mine]
            losses.plot(margins, [max(loss, 1e-5) for loss in worst], marker="o", color=f"C{number}")
        losses.axhline(1e-3, color="black", linestyle="--", linewidth=1)
        losses.set(xlabel="margin (logits)", yscale="log")
        shares.set(title=request, ylim=(0, 1.2))
    axes[0, 0].set_ylabel("windows run, share of all\n(dotted: floor)")
    axes[1, 0].set_ylabel("1 - lowest Dice\n(dashed: the bar)")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="*", type=Path)
    parser.add_argument("--phantoms", type=int, nargs="*", default=list(SEEDS), metavar="SEED")
    parser.add_argument("--weights", default="demo")
    parser.add_argument("--margins", type=float, nargs="+", default=list(MARGINS))
    parser.add_argument("--results", type=Path, help="JSON to go on from and to write after each scan.")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    segmenter = Segmenter(arguments.weights, device="cpu")
    run = {"weights_sha256": file_sha256(segmenter.weights_path), "margins": arguments.margins}
    rows: list[dict[str, Any]] = []
    if arguments.results and arguments.results.exists():
        stored = json.loads(arguments.results.read_text())
        rows = stored["rows"] if {key: stored[key] for key in run} == run else []
    for scan in [*arguments.scans, *arguments.phantoms]:
        name = scan.name if isinstance(scan, Path) else f"phantom {scan}"
        if any(row["scan"] == name for row in rows):
            continue
        volume = segmenter.prepare(scan if isinstance(scan, Path) else make_phantom(scan, (3, 3, 3)).image()).volume
        for row in compare(segmenter, volume.voxels, arguments.margins):
            rows.append({"scan": name, "shape": list(volume.voxels.shape), **row})
            print(
                f"{name} {row['request']} margin {row['margin']:g}: {row['run']} of {row['total']} windows "
                f"({row['share']:.0%}, floor {row['floor']:.0%}), Dice {row['dice']}, {row['lost']} lesions lost",
                flush=True,
            )
        if arguments.results:
            arguments.results.write_text(json.dumps({**run, "rows": rows}))
    if arguments.plot:
        plot(rows, arguments.plot)
    print(json.dumps({**run, "rows": rows}))


def _touching(segmenter: Segmenter, voxels: Tensor, result: BitMask) -> list[Size]:
    if not voxels.numel():
        return []
    field = lay_out_windows(segmenter.engine, voxels, 0.5)
    anything = np.zeros(field.shape, np.bool_)
    anything[field.inside] = result.any()
    return [start for start in field.starts if anything[window_at(start, segmenter.card.window)].any()]


if __name__ == "__main__":
    main()

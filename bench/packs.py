"""What packs cost: a scan with all classes of a network alone, and with packs of 1, 10 and 200 classes.

    python -m bench.packs                              # bundled demo weights
    python -m bench.packs --backbone unet --slices 60  # full-size weights from a seed
    python -m bench.packs --quick                      # a small scan and a narrow network, to try the script

An added class is a head of the network, changed a little by a seed, so that masks are as large as those of organs. Each
run is a process of its own, whose peak memory is read while it runs. Memory is compared with what `umlite plan`
predicts. The best of some rounds in turns counts, and the load of the machine is said.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import torch

from bench.long_scan import measured
from bench.recipe import recipe_weights
from bench.report import begin, finish
from umlite.extension.starts import existing
from umlite.kernels.implementations import REFERENCE
from umlite.machine.threads import available_threads
from umlite.phantom import make_phantom
from umlite.weights.loading import load_model
from umlite.weights.packs import Pack, PackCard, network_sha256, write_pack
from umlite.weights.store import BUNDLED

COUNTS = (0, 1, 10, 200)
SPACING_MM = (2.0, 2.0, 3.0)
CHANGE = 0.02
"""Standard deviation of what is added to a head's numbers, as a share of their own."""


def main() -> None:
    options = arguments()
    threads = options.threads or available_threads()[0]
    report = begin("packs", {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()})
    weights = BUNDLED["demo"]
    if options.quick or options.backbone != "demo":
        weights = recipe_weights("unet" if options.backbone == "demo" else options.backbone, quick=options.quick)
    with tempfile.TemporaryDirectory(prefix="umlite-packs-") as made:
        folder = Path(made)
        scan = folder / "scan.nii.gz"
        image = make_phantom(0, (8.0,) * 3 if options.quick else SPACING_MM).image()
        nib.save(image.slicer[:, :, : options.slices] if options.slices else image, scan)
        packs = {count: seeded_pack(folder, weights, count) for count in COUNTS}
        predicted = {count: plan(scan, weights, packs[count]) for count in COUNTS}
        rounds: dict[int, list[dict[str, Any]]] = {count: [] for count in COUNTS}
        for _ in range(options.rounds):
            for count, found in rounds.items():
                found.append(measured(scan, str(weights), threads, packs[count]) | {"load": os.getloadavg()[0]})
        report["rows"] = [row_of(count, rounds[count], predicted[count], packs[count]) for count in COUNTS]
    finish(report)


def row_of(count: int, rounds: list[dict[str, Any]], predicted: dict[str, Any], packs: list[Path]) -> dict[str, Any]:
    """A row of the table, printed too."""
    best = min(rounds, key=lambda one: one["seconds"])
    row = {
        "added": count,
        "pack_mb": round(sum(path.stat().st_size for path in packs) / 1e6, 2),
        "seconds": best["seconds"],
        "windows_s": best["steps_s"]["windows"],
        "windows": best["windows"],
        "peak_gb": max(one["peak_gb"] for one in rounds),
        "predicted_gb": predicted["peak_gb"],
        "load": [round(one["load"], 1) for one in rounds],
    }
    print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return row


def seeded_pack(folder: Path, weights: Path, count: int) -> list[Path]:
    """A pack of some heads of a network, changed a little; none for no classes."""
    if not count:
        return []
    model, card = load_model(weights, REFERENCE)
    random = torch.Generator().manual_seed(0)
    heads = [existing(model.generator, k % len(card.classes)) for k in range(count)]
    parts = [torch.stack(part) for part in ([h.weight for h in heads], [h.bias for h in heads])]
    changed = [part + CHANGE * part.std() * torch.randn(part.shape, generator=random) for part in parts]
    names = tuple(f"added_{k}" for k in range(count))
    path = folder / f"{count}.pack.safetensors"
    write_pack(path, Pack(PackCard(names, network_sha256(model.state_dict())), *changed))
    return [path]


def plan(scan: Path, weights: Path, packs: list[Path]) -> dict[str, Any]:
    """What `umlite plan` predicts."""
    command = [
        sys.executable,
        "-m",
        "umlite",
        "plan",
        str(scan),
        "--weights",
        str(weights),
        "--device",
        "cpu",
        "--json",
    ]
    command += ["--with", ",".join(map(str, packs))] if packs else []
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="demo", choices=("demo", "unet", "swin_unetr"))
    parser.add_argument("--slices", type=int, help="slices of the phantom; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="all that this process may use by default")
    parser.add_argument("--quick", action="store_true", help="a small scan and a narrow network, once")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    return options


if __name__ == "__main__":
    main()

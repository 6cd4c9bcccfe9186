"""How well the check of `umlite weights convert` tells damaged weights: kinds of damage, seeds, synthetic patients.

`python -m bench.smoke_test [WEIGHTS ...] --seeds 3 --patients 2`: U-Nets with a shared generator, the bundled one by
default; files of its earlier versions are in the history of umlite/weights/demo.safetensors.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from bench.damage import damaged, kinds
from bench.report import begin, finish
from umlite.checks.patient import SEED, Views, draw_views
from umlite.checks.smoke_test import FOUND_DICE, answers, judge
from umlite.engines.options import EngineOptions
from umlite.kernels.implementations import REFERENCE
from umlite.weights.loading import load_model, save_model
from umlite.weights.model_card import ModelCard
from umlite.weights.store import resolve

HARMLESS = ("sound", "noise of 30 %", "image vector untrained", "controller half as strong")


def main() -> None:
    """Print a row for each kind, then the report."""
    parser = argparse.ArgumentParser(prog="bench.smoke_test", description=__doc__)
    parser.add_argument("weights", nargs="*", default=["demo"])
    parser.add_argument("--seeds", type=int, default=3, help="of each kind of damage")
    parser.add_argument("--patients", type=int, default=2)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--quick", action="store_true", help="one kind of damage, one seed, one patient")
    options = parser.parse_args()
    if options.quick:
        options.seeds = options.patients = 1
    report = begin("smoke_test", vars(options))
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for weights in options.weights:
        _measure(weights, options, rows)
    print(f"{'':28} {'warned':>9}   organs found   because")
    for kind, cases in rows.items():
        reasons = Counter(code for case in cases for code in case["codes"])
        warned, least, most = sum(bool(c["codes"]) for c in cases), *(f(c["found"] for c in cases) for f in (min, max))
        print(f"{kind:28} {warned:4}/{len(cases):4}   {least} to {most} of {cases[0]['organs']}    {dict(reasons)}")
    bad = [case for kind, cases in rows.items() if kind not in HARMLESS for case in cases]
    report["damaged"] = {"cases": len(bad), "warned": sum(bool(case["codes"]) for case in bad)}
    report["sound"] = {"cases": len(rows["sound"]), "warned": sum(bool(case["codes"]) for case in rows["sound"])}
    report["kinds"] = dict(rows)
    finish(report)


def _measure(weights: str, options: argparse.Namespace, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Add what the check says of sound and damaged weights, for every patient."""
    model, card = load_model(resolve(weights), REFERENCE)
    every = kinds(card.classes)
    for number in range(options.patients):
        views = draw_views(card, SEED + number)
        rows["sound"].append(_judged(model.state_dict(), card, views, options.threads))
        for kind, damage in list(every.items())[: 1 if options.quick else None]:
            for seed in range(options.seeds):
                tensors = damaged(model, damage, seed)
                rows[kind].append(_judged(tensors, card, views, options.threads))


def _judged(tensors: dict[str, Any], card: ModelCard, views: Views, threads: int | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.safetensors"
        save_model(path, tensors, card)
        logits = answers(path, views, EngineOptions(device="cpu", threads=threads))
    dice, findings = judge(logits, card.classes, views)
    found = sum(value >= FOUND_DICE for value in dice.values())
    return {"found": found, "organs": len(dice), "codes": [finding.code for finding in findings]}


if __name__ == "__main__":
    main()

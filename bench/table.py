"""Reports on standard input to README's Markdown tables: every line that is a benchmark's JSON.

python -m bench.forward | python -m bench.table
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    for line in sys.stdin:
        if line.startswith('{"bench"'):
            report = json.loads(line)
            print("\n".join([*TABLES[report["bench"]](report), "", place(report["machine"])]))


def forward_table(report: dict[str, Any]) -> list[str]:
    """A row for each network and number of classes."""
    rows = [
        "| window | classes | reference | umlite | ratio (least to most) | GFLOP/s | peak GB |",
        "|---|" + 6 * "---|",
    ]
    for network in report["networks"]:
        memory = network.get("memory")
        peak = f"{memory['ours']['peak_gb']} (reference {memory['reference']['peak_gb']})" if memory else ""
        for row in network["ours"]:
            ratio, seconds = row["ratio"], row["seconds"]["median"]
            spread = f"{ratio['median']:.1f} ({ratio['least']:.1f} to {ratio['most']:.1f})"
            rows.append(
                f"| {network['backbone']} | {row['classes']} | {network['reference_s']['median']:.2f} s "
                f"| {seconds:.2f} s | {spread} | {row['published_gflops']:.0f} | {peak} |"
            )
        for name, seconds in network.get("peers", {}).items():
            rows.append(f"| {network['backbone']}, backbone alone, {name} | | | {seconds['median']:.2f} s | | | |")
    rows.append("")
    rows.append(
        f"GFLOP/s are the published network's operations by umlite's seconds; a float32 matrix product reaches "
        f"{report['matrix_product_gflops']:.0f} here."
    )
    return rows


def scan_table(report: dict[str, Any]) -> list[str]:
    """A row for each request."""
    rows = ["| request | reference | umlite | ratio | outside the windows | peak GB |", "|---|" + 5 * "---|"]
    for request, measured in report["requests"].items():
        ours, theirs = measured["umlite"], measured["reference"]
        reference = (
            f"{theirs['total_s']['p50']:.0f} s{' (extrapolated)' if theirs['extrapolated'] else ''}" if theirs else ""
        )
        ratio = f"{measured['ratio']:.1f}" if theirs else ""
        rows.append(
            f"| {request} | {reference} | {ours['total_s']['p50']:.1f} s | {ratio} "
            f"| {100 * ours['share_outside_windows']:.1f} % | {ours['peak_gb']} |"
        )
    return rows


def exactness_table(report: dict[str, Any]) -> list[str]:
    """A row for each algorithm, then a row for each network."""
    rows = ["| layer by | relative L2 error | eager torch |", "|---|---|---|"]
    rows += [f"| {row['name']} | {row['error']:.1e} | {row['eager']:.1e} |" for row in report["algorithms"]]
    rows += ["", "| logits | umlite: worst, RMS | eager float32: worst, RMS | ratios |", "|---|---|---|---|"]
    for row in report["networks"]:
        ours, eager = row["umlite"], row["eager"]
        rows.append(
            f"| {row['backbone']} | {ours['worst']:.1e}, {ours['rms']:.1e} | {eager['worst']:.1e}, {eager['rms']:.1e} "
            f"| {row['worst_ratio']:.2f}, {row['rms_ratio']:.2f} |"
        )
    return rows


def place(machine: dict[str, Any]) -> str:
    """Where and when it was measured."""
    return (
        f"Measured {machine['date'][:10]} on {machine['processor']}, {machine['threads']} threads, "
        f"{machine['memory_gb']} GB, torch {machine['torch']}."
    )


TABLES = {"exactness": exactness_table, "forward": forward_table, "scan": scan_table}


if __name__ == "__main__":
    main()

"""The benchmark's results as a page to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS: dict[str, tuple[str, ...]] = {
    "kernels": ("name", "error", "allowed", "seconds_with_compilation", "passed", "fault"),
    "windows": ("name", "error", "allowed", "passed", "fault"),
    "kernel_times": ("kernel", "seconds", "floor", "times_floor", "limit", "gb_s", "tflop_s", "fault"),
    "window_times": ("network", "way", "batch", "windows_s", "seconds", "floor", "first_call_s", "skipped", "fault"),
    "scans": ("network", "classes", "side", "total_s", "ratio", "windows_run", "skipped", "fault"),
    "memory": ("network", "batch", "windows_s", "peak_gb", "fault"),
    "tilings": ("kernel", "queries", "keys", "step", "voxels", "warps", "seconds", "refused", "fault"),
    "profile": ("network", "kernel", "calls", "microseconds", "share"),
}
"""Of each part's rows, what the page shows; results.json holds everything."""


def summary(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of all parts so far: {name: {"status", "seconds", "rows"}}."""
    lines = ["# What the GPU benchmark found", ""]
    checks = [row for name in ("kernels", "windows") for row in parts.get(name, {}).get("rows", [])]
    failed = [str(row.get("name", row.get("fault"))) for row in checks if not row.get("passed")]
    lines += [f"Checks: {len(checks) - len(failed)} of {len(checks)} passed."]
    lines += [f"**Times of these mean nothing, their check failed**: {'; '.join(failed)}."] if failed else []
    lines += goals(parts)
    for name, part in parts.items():
        lines += ["", f"## {name}: {part['status']}, {part['seconds']:.0f} s", ""]
        rows = part["rows"]
        if name in COLUMNS:
            lines += table(rows, COLUMNS[name])
        else:
            lines += [f"- {key}: {value}" for row in rows for key, value in row.items()]
    return "\n".join(lines) + "\n"


def goals(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Heads at 85 % of their floor, a window within twice its floor, 1.5 times compiled autocast; those measured."""
    lines = []
    for row in parts.get("kernel_times", {}).get("rows", []):
        if row["kernel"] == "fused_heads, float16" and "seconds" in row:
            lines.append(f"- fused heads: {100 * row['floor'] / row['seconds']:.0f} % of their floor (goal 85 %)")
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for row in parts.get("window_times", {}).get("rows", []):
        key = (row["network"], row["way"])
        if "seconds" in row and row["seconds"] < best.get(key, {"seconds": float("inf")})["seconds"]:
            best[key] = row
    wrong = {row["network"] for row in parts.get("windows", {}).get("rows", []) if not row.get("passed")}
    for (network, way), row in best.items():
        if way == "umlite" and "floor" in row:
            lines.append(f"- {network}: a window takes {row['seconds'] / row['floor']:.1f} times its floor (goal 2)")
        if way != "umlite" and (network, "umlite") in best:
            ratio = row["seconds"] / best[network, "umlite"]["seconds"]
            said = "no ratio, a check failed" if network in wrong else f"{ratio:.2f} times as fast"
            lines.append(f"- {network} beside the reference, {way}: {said}")
    return ["", *lines] if lines else []


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Markdown of the columns that any row has."""
    shown = [name for name in columns if any(row.get(name) not in (None, "") for row in rows)]
    lines = [f"| {' | '.join(shown)} |", f"|{'---|' * len(shown)}"] if shown else []
    return lines + [f"| {' | '.join(_cell(name, row) for name in shown)} |" for row in rows]


def _cell(name: str, row: Mapping[str, Any]) -> str:
    value: Any = _whole_scan(row) if name == "total_s" and "umlite" in row else row.get(name, "")
    if name == "windows_run" and "umlite" in row:
        value = row["umlite"]["windows_run"]
    if isinstance(value, float):
        return f"{value:.3g}"
    return str("" if value is None else value).replace("|", "/")


def _whole_scan(row: Mapping[str, Any]) -> float:
    return float(row["umlite"]["total_s"]["p50"])

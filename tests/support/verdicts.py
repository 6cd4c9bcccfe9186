"""What a comparison says if its two scans are swapped."""

from __future__ import annotations

from umlite.comparison.verdicts import Verdict

MIRRORED: dict[Verdict, Verdict] = {
    "new": "gone",
    "gone": "new",
    "growing": "shrinking",
    "shrinking": "growing",
    "stable": "stable",
    "merged": "split",
    "split": "merged",
    "regrouped": "regrouped",
    "out_of_view_a": "out_of_view_b",
    "out_of_view_b": "out_of_view_a",
}

"""What a result says against itself: checks of a scan and its masks, each with a code, a sentence and the evidence."""

from umlite.findings.checks import CHECKS, Check, find
from umlite.findings.finding import Finding

__all__ = ["CHECKS", "Check", "Finding", "find"]

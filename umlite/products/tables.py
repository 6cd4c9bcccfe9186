"""Statistics and lesions as tables and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from umlite.classes import AnatomyClass
from umlite.outputs.file_set import Files
from umlite.products.place import Place
from umlite.products.product import Finished, Product
from umlite.results.statistics_files import write_statistics


class StatisticsTables(Product):
    """statistics.csv, lesions.csv and statistics.json."""

    needs_scan = True

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:  # noqa: ARG002  the same for any
        return [place.beside(name) for name in ("statistics.csv", "lesions.csv", "statistics.json")]

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        result = finished.result
        about = {"scan": result.scan.name, "weights": result.card.name, "notice": result.card.notice}
        about |= finished.checks
        write_statistics(files, self.paths(place, result.classes), finished.statistics, about)

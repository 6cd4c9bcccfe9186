"""Statistics and lesions as tables and JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from umlite.classes import AnatomyClass
from umlite.outputs.file_set import Files
from umlite.outputs.texts import json_text
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

    def copy(self, files: Files, source: Place, place: Place, classes: Sequence[AnatomyClass], scan: str) -> None:
        *tables, numbers = zip(self.paths(source, classes), self.paths(place, classes), strict=True)
        for there, here in tables:
            shutil.copyfile(there, files.new(here))
        there, here = numbers
        files.write_text(here, json_text({**json.loads(there.read_text(encoding="utf-8")), "scan": scan}))

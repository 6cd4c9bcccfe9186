"""A scan's files: whether they can be written, all of them as one set, and a place for what the disk refuses."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from umlite.batch.jobs import Job
from umlite.classes import AnatomyClass
from umlite.errors import OutputError, UmliteError
from umlite.files import output_error
from umlite.outputs.file_set import rehearse
from umlite.outputs.leftovers import recover
from umlite.outputs.temporary import existing
from umlite.products.manifest import manifest_path
from umlite.products.place import Place
from umlite.products.product import Finished, Product
from umlite.products.wanted import Wanted
from umlite.products.writing import Written, write_products


class Saver:
    """Writes the results of a run.

    Args:
        products: what is written of each.
        wanted: what they were made from; says where manifests go.
        classes: of every result.
        scans: real paths of files that must stay.
        overwrite: whether existing results may be replaced.
    """

    def __init__(
        self,
        products: Sequence[Product],
        wanted: Wanted,
        classes: Sequence[AnatomyClass],
        scans: Collection[str] = (),
        *,
        overwrite: bool = False,
    ) -> None:
        self._products, self._wanted = tuple(products), wanted
        self._classes, self._scans = tuple(classes), frozenset(scans)
        self._overwrite = overwrite
        self._clean: set[Path] = set()

    def check(self, job: Job) -> None:
        """Find out before the computation whether the result can be written, by doing what writing it will do.

        What killed runs left in the folder is finished or removed first.

        Raises:
            OutputError: a scan, or without `overwrite` any file, would be replaced, or the system refuses.
            RequestError: a product cannot be made of this scan.
        """
        folder = existing(job.place.home)
        if folder not in self._clean:
            recover(folder)
            self._clean.add(folder)
        files = [path for product in self._products for path in product.paths(job.place, self._classes)]
        manifest = manifest_path(self._wanted, job.place)
        try:
            for file in files if manifest is None else [*files, manifest]:
                if os.path.realpath(file) in self._scans:
                    raise OutputError(
                        f"{file} is one of the scans and would be replaced. Choose another place.", about="output"
                    )
                if file.is_dir():
                    raise OutputError(
                        f"Cannot write {file}: a folder of that name exists. Choose another name.", about="output"
                    )
            if not self._overwrite and (there := [file for file in files if os.path.lexists(file)]):
                more = f" and {len(there) - 1} more" if len(there) > 1 else ""
                raise OutputError(
                    f"{there[0]}{more} exists already. Choose another place, or allow replacing it.",
                    about=("overwrite", "output"),
                )
            for product in self._products:
                product.check(job.place, job.series)
            for place in {folder, *(existing(file.parent) for file in files)}:
                rehearse(place)
        except OSError as error:
            raise output_error(error, job.output) from error

    def save(self, finished: Finished, job: Job) -> Written:
        """Write all files of a result, or none.

        Raises:
            OutputError: the system refuses. The message says where the result is kept instead.
        """
        path = manifest_path(self._wanted, job.place)
        try:
            return write_products(self._products, finished, job.place, manifest_path=path, overwrite=self._overwrite)
        except (UmliteError, OSError) as error:
            raise OutputError(f"{error} {self._rescue(finished, job)}", about="output") from error
        finally:
            if finished.result.probabilities is not None:
                finished.result.probabilities.file.close()

    def _rescue(self, finished: Finished, job: Job) -> str:
        """Keep a finished result in the temporary folder or the current one if it cannot be written.

        A product that cannot be made must not cost the others: then the masks are kept alone.
        """
        here = [product for product in self._products if not product.elsewhere]
        for parent, products in ((p, some) for p in (None, ".") for some in (here, here[:1])):
            try:
                folder = Path(tempfile.mkdtemp(prefix="umlite-rescued-", dir=parent))
                main = folder / ("masks" if job.place.is_folder else job.output.name)
                place = Place(main, job.place.is_folder, job.place.name)
                write_products(products, finished, place, manifest_path=None, overwrite=True)
            except (OSError, UmliteError):
                continue
            return f"The finished result was kept in {main if place.is_folder else folder}."
        return "The result could not be kept in the temporary folder either."

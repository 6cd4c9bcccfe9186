"""A scan's files: whether they can be written, all of them as one set, and a place for what the disk refuses."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from umlite.batch.jobs import Job
from umlite.batch.orders import Orders
from umlite.batch.standing import Standing, standing_of
from umlite.batch.terms import Terms
from umlite.errors import OutputError, UmliteError
from umlite.files import output_error
from umlite.outputs.file_set import rehearse, wait_for_others
from umlite.outputs.leftovers import own_parents, recover
from umlite.outputs.temporary import existing
from umlite.products.place import Place
from umlite.products.product import Finished, Product
from umlite.products.writing import Original, Written, copy_products, write_products
from umlite.volume.reading import scan_name


class Saver:
    """Writes the results of a run.

    Args:
        orders: which files may be replaced.
        scans: real paths of files that must stay.
    """

    def __init__(self, orders: Orders, scans: Collection[str] = ()) -> None:
        self._orders, self._scans = orders, frozenset(scans)
        self._clean: set[Path] = set()

    def clean(self, job: Job) -> None:
        """Finish or remove what killed runs left in the folder of a result, and in those above.

        A run whose folder did not exist yet had its hidden files in a parent. Raises OutputError where neither works in
        the folder itself.
        """
        home = existing(job.place.home)
        if home in self._clean:
            return
        recover(home)
        self._clean.add(home)
        for folder in own_parents(home):
            if folder in self._clean:
                return
            self._clean.add(folder)
            with suppress(OutputError):  # that set is of other results
                recover(folder)

    def check(self, job: Job, terms: Terms) -> bool:
        """Find out before the computation whether the result can be written, by doing what writing it will do.

        Returns:
            False where it need not be: another run has written the same meanwhile.

        Raises:
            OutputError: a scan would be replaced, or a file that must stay, or the system refuses.
            RequestError: a product cannot be made of this scan.
        """
        self.clean(job)
        files, manifest = terms.files(job.place), terms.manifest(job.place)
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
            standing = self._standing(job, terms)
            if self._staying(job, files, standing):
                wait_for_others(job.place.home)
                standing = self._standing(job, terms)
            if standing.is_done and not self._orders.force:
                return False
            if staying := self._staying(job, files, standing):
                raise _exists(staying, standing)
            for product in terms.products:
                product.check(job.place, job.series)
            for place in {existing(job.place.home), *(existing(file.parent) for file in files)}:
                rehearse(place)
        except OSError as error:
            raise output_error(error, job.output) from error
        return True

    def save(self, finished: Finished, job: Job, terms: Terms) -> Written | None:
        """Write all files of a result, or none. None: another run has written the same meanwhile.

        Raises:
            OutputError: the system refuses. The message says where the result is kept instead.
        """
        path, standing, files = terms.manifest(job.place), self._standing(job, terms), terms.files(job.place)
        replace = self._may_replace(job, files, standing)
        try:
            if standing.is_done and not self._orders.force:
                return None
            if not standing.is_same and (stale := _left(standing, job, files)):
                finished.remarks.append(stale)
            return write_products(terms.products, finished, job.place, manifest_path=path, overwrite=replace)
        except (UmliteError, OSError) as error:
            if self._standing(job, terms).is_done and not self._orders.force:
                return None
            raise OutputError(f"{error} {_rescue(terms.products, finished, job)}", about="output") from error
        finally:
            if finished.result.probabilities is not None:
                finished.result.probabilities.file.close()

    def copy(self, source: Job, job: Job, terms: Terms, facts: dict[str, Any]) -> Written:
        """Write all files of a result as copies of another's, or none.

        Args:
            source: the job whose result is copied.
            job: the job that gets it, which `check` has let pass.
            terms: of both.
            facts: of the manifest.

        Raises:
            OutputError: the system refuses.
        """
        path = terms.manifest(job.place)
        assert path is not None  # the source has one, so results of this run have
        replace = self._may_replace(job, terms.files(job.place), self._standing(job, terms))
        name = scan_name(job.scan) if job.series is None else job.series.name
        original = Original(source.place, terms.classes)
        return copy_products(
            terms.products, original, job.place, scan=name, facts=facts, manifest_path=path, overwrite=replace
        )

    def _may_replace(self, job: Job, files: Sequence[Path], standing: Standing) -> bool:
        exist = any(map(os.path.lexists, files))
        return self._orders.overwrite or (exist and not self._staying(job, files, standing))

    def _standing(self, job: Job, terms: Terms) -> Standing:
        return standing_of(job, terms, verify_hashes=self._orders.verify_hashes)

    def _staying(self, job: Job, files: Sequence[Path], standing: Standing) -> list[Path]:
        """Those files that exist and must stay: all but those of the same result or, if forced, of any run there."""
        if self._orders.overwrite:
            return []
        ours = standing.listed(job.place) if standing.is_same or self._orders.force else frozenset()
        return [file for file in files if os.path.lexists(file) and Path(os.path.abspath(file)) not in ours]


def _exists(there: Sequence[Path], standing: Standing) -> OutputError:
    found = f"{there[0]} and {len(there) - 1} more exist" if len(there) > 1 else f"{there[0]} exists"
    told = f", of a run that differs in: {standing.differs}" if standing.differs else ""
    return OutputError(
        f"{found} already{told}. Choose another place, or allow replacing it.",
        about=("overwrite", "output"),
    )


def _left(standing: Standing, job: Job, files: Sequence[Path]) -> str:
    """A sentence about files of an earlier run that stay beside a new result, though they do not belong to it."""
    if not {"weights", "scan"} & set(standing.differs.split(", ")):
        return ""
    new = {os.path.abspath(file) for file in files}
    left = sorted(file.name for file in standing.listed(job.place) if str(file) not in new and os.path.lexists(file))
    if not left:
        return ""
    more = f" and {len(left) - 3} more" if len(left) > 3 else ""
    return f"{', '.join(left[:3])}{more} stayed from an earlier run that differs in: {standing.differs}. Remove them."


def _rescue(all_products: Sequence[Product], finished: Finished, job: Job) -> str:
    """Keep a finished result in the temporary folder or the current one if it cannot be written.

    A product that cannot be made must not cost the others: then the masks are kept alone.
    """
    here = [product for product in all_products if not product.elsewhere]
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

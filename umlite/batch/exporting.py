"""A stored result in other formats, without running the network again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umlite import __version__
from umlite.batch.jobs import Job, lay_out_jobs
from umlite.batch.orders import Orders
from umlite.batch.outcome import Outcome
from umlite.batch.reproduction import find_scan
from umlite.batch.saving import Saver
from umlite.batch.terms import Terms
from umlite.dicom.reading import read_source
from umlite.errors import RequestError
from umlite.files import check_free, file_sha256
from umlite.products.choice import products_of
from umlite.products.formats import format_of
from umlite.products.place import stem
from umlite.products.product import Finished, Product
from umlite.products.stored.reading import StoredFile, read_stored
from umlite.products.wanted import Wanted
from umlite.request import Classes, Request

if TYPE_CHECKING:
    from umlite.dicom.series import Series


def export(
    path: Path,
    output: Path | None,
    wanted: Wanted,
    *,
    classes: Classes = None,
    scan: Path | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Write what is wanted of a stored result.

    Args:
        path: the file that keeps it.
        output: as of `umlite.batch.jobs.lay_out_jobs`, for a scan with the name of the file.
        wanted: what is written. Without a scan nothing is checked.
        classes: those of the result to write; None for all.
        scan: the scan that was segmented, for what tells more than the masks do.
        overwrite: whether any existing files may be replaced.

    Raises:
        InputError: a file that keeps no result, or another scan.
        RequestError: a class that it does not hold, or a product that cannot be made of it.
        OutputError: a file cannot be written.
    """
    chosen = format_of(output, wanted.format, wanted.layout)
    wanted = replace(wanted, format=chosen.name, checks=wanted.checks and scan is not None)
    products = products_of(wanted, chosen)
    stored = read_stored(path).select(classes)
    _check(products, path, has_scan=scan is not None)
    source, series = (None, None) if scan is None else _scan_of(stored, scan)
    asked = stored.manifest.request if stored.manifest else Request()
    request = replace(asked, classes=tuple(c.name for c in stored.result.classes))
    (job,) = lay_out_jobs([_named(path)], output, chosen, layout=wanted.layout)
    job = Job(source or path, job.place, series, job.format)
    recorded = stored.manifest
    terms = Terms(
        request,
        wanted,
        products,
        stored.result.classes,
        recorded.hashes if recorded else (),
        recorded.options.precision if recorded else "",
    )
    check_free(terms.files(job.place), overwrite=overwrite)
    saver = Saver(Orders(request, wanted, overwrite, force=overwrite), {os.path.realpath(p) for p in (path, job.scan)})
    saver.check(job, terms)
    if source is not None:
        stored = stored.with_scan(read_source(series or source, force_geometry=True))
    finished = Finished(stored.result, series, _facts(stored, request, wanted), wanted=wanted)
    written = saver.save(finished, job, terms)
    for product in products:
        product.finish_run()
    if written is None:  # by another export of the same meanwhile
        return Outcome(job, finished, skipped=True)
    return Outcome(job, finished, written.files, manifest=written.manifest, manifest_file=written.manifest_file)


def _check(products: Sequence[Product], path: Path, *, has_scan: bool) -> None:
    """Raise RequestError for products that need what a stored result lacks."""
    if not has_scan and any(product.needs_scan for product in products):
        raise RequestError(
            f"{path} holds masks and no HU, which statistics and pictures need: give the scan that was segmented too.",
            about="scan",
        )
    if any(product.needs_logits for product in products):
        raise RequestError(
            f"{path} holds masks and no logits, which surfaces are made from: segment the scan again for them.",
            about="mesh",
        )


def _scan_of(stored: StoredFile, scan: Path) -> tuple[Path, Series | None]:
    """The scan that a result was made from. Raises InputError for another one."""
    if stored.manifest is None:
        raise RequestError(f"{stored.path} does not tell which scan it is of, so none can be added.", about="scan")
    return find_scan(stored.manifest, scan)


def _named(path: Path) -> Path:
    """A scan with the name of a stored result, for the names of what is written."""
    return path.with_name(f"{stem(path)}.nii.gz")


def _facts(stored: StoredFile, request: Request, wanted: Wanted) -> dict[str, Any]:
    """Facts for the manifest: those of the run, and the file that its result was taken from."""
    run = {} if stored.manifest is None else dict(stored.manifest.data)
    run.pop("outputs", None)
    about = {"umlite": __version__, "file": stored.path.name, "sha256": file_sha256(stored.path)}
    return {**run, "request": request.to_dict(), "wanted": wanted.to_dict(), "exported": about}

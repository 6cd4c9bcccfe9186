"""From what a user names to scans: folders with all that is in them, patterns, lists, standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from umlite.errors import InputError
from umlite.files import expanded
from umlite.products.manifest import KIND, NAME
from umlite.products.place import stem
from umlite.progress import Notify, no_notice
from umlite.volume.reading import header_of

SUFFIXES = (".nii.gz", ".nii", ".hdr.gz", ".hdr", ".nrrd", ".nhdr")
"""Of scans in a folder; that of a pair stands for both of its files."""
RESULTS = (".seg.nrrd", ".umlite.nii.gz")
"""Endings of files that are never scans."""
_LEAST_HU_RANGE = 1000
"""Fewer HU than lie between air and bone: numbers with a smaller range are labels."""
_HEAD_BYTES = 64
_MOST_LINE = 1 << 16


@dataclass
class Inputs:
    """Paths that scans are in, in a fixed order.

    Args:
        paths: files, and folders that may hold DICOM.
        roots: of the paths that were found in a folder, or by a pattern: that folder, whose tree results mirror.
        named: paths that were named themselves.
    """

    paths: list[Path] = field(default_factory=list)
    roots: dict[Path, Path] = field(default_factory=dict)
    named: set[Path] = field(default_factory=set)

    def add(self, path: Path, root: Path | None = None) -> None:
        """Add a path, which keeps the first root that it came with."""
        self.paths.append(path)
        if root is None:
            self.named.add(path)
        else:
            self.roots.setdefault(path, root)


def expand(words: Sequence[str | Path], output: Path | None = None, *, notify: Notify = no_notice) -> Inputs:
    """Find the scans that words stand for.

    Args:
        words: files; folders, which are searched with all folders in them; patterns such as `scans/**/*.nii.gz`, whose
            files count as found in the folder before the first wildcard; `@FILE`, a list of such words, one per line;
            `-`, such a list on standard input.
        output: a folder of results, which is not searched. Nor are folders with a run manifest, or hidden ones.
        notify: gets sentences about what is passed over.

    Raises:
        InputError: a list cannot be read, or a pattern has no file.
    """
    inputs = Inputs()
    for word in _words(words):
        path = expanded(word)
        if os.path.isdir(path):
            _search(path, path, output, inputs, notify)
        elif not os.path.lexists(path) and glob.has_magic(str(path)):
            _match(path, output, inputs, notify)
        else:
            inputs.add(path)
    return inputs


def without_masks(inputs: Inputs, *, notify: Notify = no_notice) -> Inputs:
    """The inputs without masks that were found, not named: files of 8-bit numbers, as data sets keep them beside scans.

    Raises InputError if nothing else was found.
    """
    masks = sorted(path for path in inputs.roots.keys() - inputs.named if _is_mask(path))
    if not masks:
        return inputs
    passed_over = set(masks)
    kept = [path for path in inputs.paths if path not in passed_over]
    if not kept:
        raise InputError(
            f"{masks[0]} and all other files there hold 8-bit numbers: expected CT scans, found masks. Name a file"
            " itself to segment it nevertheless.",
            about="scans",
        )
    files, more = ("a file", "") if len(masks) == 1 else (f"{len(masks)} files", " ...")
    notify(f"Passed over {files} of 8-bit numbers, which are masks and no HU: {masks[0]}{more}")
    return Inputs(kept, inputs.roots, inputs.named)


def _words(words: Sequence[str | Path]) -> Iterator[str]:
    for word in map(str, words):
        if word == "-":
            yield from _lines("standard input")
        elif word.startswith("@") and not os.path.lexists(word):
            yield from _lines(word[1:])
        else:
            yield word


def _lines(name: str) -> Iterator[str]:
    """Lines of a list."""
    try:
        if name == "standard input":
            yield from _written(sys.stdin or ())
            return
        with open(expanded(name), encoding="utf-8-sig") as file:
            yield from _written(iter(lambda: file.readline(_MOST_LINE), ""))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"Cannot read the list {name} ({reason}): expected a path per line.", about="scans") from error


def _written(lines: Iterable[str]) -> Iterator[str]:
    """Lines that are neither empty nor comments."""
    for line in lines:
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def _match(pattern: Path, output: Path | None, inputs: Inputs, notify: Notify) -> None:
    fixed = next(n for n, part in enumerate(pattern.parts) if glob.has_magic(part))
    root = Path(*pattern.parts[:fixed])
    found = sorted(Path(name) for name in glob.iglob(str(pattern), recursive=True))
    if not found:
        raise InputError(f"No file matches {pattern}. Check the pattern and the folder.", about="scans")
    for path in found:
        if os.path.isdir(path):
            _search(path, root, output, inputs, notify)
        elif not _is_result(path):
            inputs.add(path, root)


def _search(top: Path, root: Path, output: Path | None, inputs: Inputs, notify: Notify) -> None:
    """Add the scans in a folder, and folders in it that hold none but other files, which may be DICOM."""
    folders = list(_walk(top, output, notify))
    with_scans = [folder for folder, scans, _ in folders if scans]
    if not with_scans:
        if _is_manifest(top / NAME):
            notify(f"{top} holds a result of an earlier run, which is no scan.")
        inputs.add(top, None if top == root else root)
        return
    above = {parent for folder in with_scans for parent in (folder, *folder.parents)}
    units: set[Path] = set()
    for folder, scans, others in folders:
        for scan in scans:
            inputs.add(scan, root)
        if not others or folder in above:
            continue
        unit = next(f for f in (folder, *folder.parents) if f.parent in above)
        if unit not in units:
            units.add(unit)
            inputs.add(unit, root)


def _walk(top: Path, output: Path | None, notify: Notify) -> Iterator[tuple[Path, list[Path], bool]]:
    """Each folder, its scans, and whether it has other files. Links are followed, each folder once."""
    results = None if output is None or _is_same(top, output) else os.path.realpath(output)
    seen: set[str] = set()

    def unreadable(error: OSError) -> None:
        notify(f"{error.filename} cannot be read ({error.strerror}) and was passed over.")

    for name, folders, files in os.walk(top, followlinks=True, onerror=unreadable):
        real = os.path.realpath(name)
        if real in seen or real == results:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        folder = Path(name)
        if NAME in files and _is_manifest(folder / NAME):
            continue
        shown = [folder / file for file in sorted(files) if not file.startswith(".")]
        scans = [path for path in shown if path.name.lower().endswith(SUFFIXES)]
        yield folder, [path for path in scans if not _is_result(path)], len(shown) > len(scans)


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _is_result(path: Path) -> bool:
    """Whether a file is a result: by its ending, or a label map by the manifest beside it."""
    return path.name.lower().endswith(RESULTS) or _is_manifest(path.with_name(f"{stem(path)}_{NAME}"))


def _is_manifest(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return f'"{KIND}"'.encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False


def _is_mask(path: Path) -> bool:
    """Whether numbers of 8 bits are stored, which cannot be HU. False for what cannot be read: an error tells later."""
    try:
        header = header_of(path)
    except InputError:
        return False
    return header.dtype.itemsize == 1 and abs(header.slope) * 255 < _LEAST_HU_RANGE

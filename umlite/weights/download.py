"""Downloading published checkpoints: resumed, checked against the hub's SHA-256, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from umlite.errors import DownloadError
from umlite.files import file_sha256
from umlite.weights.download_errors import disk_failure, failure, shown
from umlite.weights.hub import BrokenError, Offer, ask

HUB = "https://huggingface.co"
RESUMES = 5  # times one call goes on by itself after the connection broke
PAUSE_S = 1.0  # before each of those

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """One published checkpoint on the hub."""

    name: str
    repo: str
    file: str
    license: str
    training: str = ""

    def url(self, endpoint: str) -> str:
        """Address of the file at `endpoint`, the root of the hub or of a mirror."""
        return f"{endpoint.rstrip('/')}/{self.repo}/resolve/main/{quote(self.file)}"


@dataclass(frozen=True)
class Download:
    """A checkpoint on this machine. `verified`: its SHA-256 is the one that the hub publishes."""

    path: Path
    sha256: str
    url: str
    verified: bool


SOURCES = {
    name: Source(
        name,
        repo="ljwztc/CLIP-Driven-Universal-Model",
        file=f"clip_driven_universal_{name}.pth",
        license="CC BY-NC-ND 4.0",
        training="CT scans of 14 public datasets (arXiv 2405.18356)",
    )
    for name in ("unet", "swin_unetr")
}


def download(
    source: Source, folder: Path, *, endpoint: str | None = None, progress: Progress | None = None
) -> Download:
    """Download the checkpoint `source` into `folder`; a file that is there already is only compared with the hub's.

    Interrupted, by KeyboardInterrupt or the end of the process too, it leaves a hidden partial file for the next call.

    Args:
        endpoint: root of the hub or of a mirror; HF_ENDPOINT, then the public hub by default.
        progress: called with the bytes on disk so far (earlier ones too) and their total.

    Raises:
        DownloadError: what happened and what to do. With HF_HUB_OFFLINE set, when the file is not there.
    """
    url = source.url(_checked(endpoint or os.environ.get("HF_ENDPOINT") or HUB))
    path = folder / Path(source.file).name
    try:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
            if path.is_file():
                return Download(path, file_sha256(path), shown(url), verified=False)
            raise failure(url, "HF_HUB_OFFLINE is set", "Unset it to allow the download.")
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(path, url):
            tries = 0
            while True:
                try:
                    return _fetch(url, path, progress)
                except BrokenError as broken:
                    if tries == RESUMES:
                        raise failure(url, f"{broken}", "Try again: it goes on where it stopped.") from broken
                tries += 1
                time.sleep(PAUSE_S)
    except OSError as error:
        raise disk_failure(url, error, folder) from error


def _fetch(url: str, path: Path, progress: Progress | None) -> Download:
    """One try at `path`. Bytes of two versions never share a partial file: its name holds their SHA-256."""
    offer = ask(url, lambda sha256: _size(_part(path, sha256)))
    with offer.response:
        if path.is_file() and (sha256 := file_sha256(path)) == (offer.sha256 or sha256):
            return Download(path, sha256, shown(url), verified=offer.sha256 is not None)
        part = _part(path, offer.sha256)
        for other in path.parent.glob(f".{path.name}.*.part"):
            if other != part or not other.is_file():
                other.unlink(missing_ok=True)
        _check_space(url, path.parent, offer)
        _receive(offer, part, progress)
    if (sha256 := file_sha256(part)) != (offer.sha256 or sha256):
        part.unlink()
        happened = f"what arrived is damaged or another file: its SHA-256 is {sha256} instead of {offer.sha256}"
        raise failure(url, happened, "The bad file was removed. Try again, without a mirror if you use one.")
    os.replace(part, path)
    return Download(path, sha256, shown(url), verified=offer.sha256 is not None)


def _receive(offer: Offer, part: Path, progress: Progress | None) -> None:
    done = offer.start
    with open(part, "ab") as out:
        out.truncate(done)
        if progress:
            progress(done, offer.size)
        for chunk in offer.chunks():
            out.write(chunk)
            done += len(chunk)
            if progress:
                progress(done, offer.size)
        out.flush()
        os.fsync(out.fileno())


def _part(path: Path, sha256: str | None) -> Path:
    """Where the version with this checksum is collected."""
    return path.with_name(f".{path.name}.{sha256 or 'unchecked'}.part")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _check_space(url: str, folder: Path, offer: Offer) -> None:
    missing, free = offer.size - offer.start, shutil.disk_usage(folder).free
    if missing > free:
        happened = f"{missing / 1e6:.0f} MB are missing and {folder} has {free / 1e6:.0f} MB of space left"
        raise failure(url, happened, "Free some space, or choose another folder.")


@contextmanager
def _locked(path: Path, url: str) -> Iterator[None]:
    """Keep other processes from downloading `path` at the same time, where the system can."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(path.with_name(f".{path.name}.lock"), "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            happened = "another process is downloading it to the same folder"
            raise failure(url, happened, "Wait until that one is done.") from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):  # network file systems without locks
                raise
        yield


def _checked(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        if parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment:
            return endpoint
    except ValueError:  # brackets that do not close
        pass
    raise DownloadError(
        f"Cannot download from {endpoint!r}: expected the address of a hub or mirror, such as {HUB}. Check HF_ENDPOINT."
    )

"""Downloading published checkpoints: resumed, checked against the hub's SHA-256, whole or not at all.

The hub answers GET /{repo}/resolve/main/{file} with a redirect to its content network. That redirect, and nothing
after it, carries the file's SHA-256 (X-Linked-Etag), size (X-Linked-Size) and commit (X-Repo-Commit); the ETag of the
content network is another hash of 64 digits. Redirects are therefore followed here, hop by hop. One request a try,
no login, no cookies, no other traffic.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from umlite import __version__
from umlite.errors import WeightsError
from umlite.files import file_sha256

if TYPE_CHECKING:
    import requests

HUB = "https://huggingface.co"
HOPS = 8  # redirects followed for one request
RESUMES = 5  # times one call goes on by itself after the connection broke
PAUSE_S = 1.0  # before each of those
CONNECT_S = 15.0
READ_S = 60.0  # of silence
CHUNK = 1 << 16  # bytes; the most that a broken connection can lose
SHA256 = re.compile(r"[0-9a-f]{64}")

Progress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Source:
    """One published checkpoint on the hub."""

    name: str
    repo: str
    file: str
    license: str

    def url(self, endpoint: str) -> str:
        """Address of the file at `endpoint`, the root of the hub or of a mirror."""
        return f"{endpoint.rstrip('/')}/{self.repo}/resolve/main/{quote(self.file)}"


@dataclass(frozen=True)
class Download:
    """A checkpoint on this machine. `verified`: its SHA-256 is the one that the hub publishes."""

    path: Path
    sha256: str
    url: str
    revision: str | None
    verified: bool


SOURCES = {
    name: Source(name, "ljwztc/CLIP-Driven-Universal-Model", f"clip_driven_universal_{name}.pth", "CC BY-NC-ND 4.0")
    for name in ("unet", "swin_unetr")
}


def download(
    source: Source, folder: Path, *, endpoint: str | None = None, progress: Progress | None = None
) -> Download:
    """The checkpoint `source` in `folder`, downloaded when it is not there yet.

    A file that is there and still has the checksum of its verified download costs no request. `endpoint` defaults to
    HF_ENDPOINT, then to the public hub; HF_HUB_OFFLINE, HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE and SSL_CERT_FILE
    are honoured. `progress` is called with the bytes there so far (kept ones too) and their total, None when it is
    not known. Interrupted, by KeyboardInterrupt or the end of the process too, it leaves a hidden partial file for
    the next call. Raises WeightsError that says what happened and what to do.
    """
    url = source.url(_checked_endpoint(endpoint or os.environ.get("HF_ENDPOINT") or HUB))
    path = folder / Path(source.file).name
    try:
        there, intact = _recall(path, url)
        if there and intact and there.verified:
            return there
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
            if there and intact is not False:
                return there
            damaged = f" and {path} is not what was downloaded (its checksum differs)" if there else ""
            raise _failure(url, f"HF_HUB_OFFLINE is set{damaged}", "Unset it to allow the download.")
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(path, url), _session() as session:
            resumed = 0
            while True:
                try:
                    return _fetch(session, url, path, there, intact, progress)
                except _BrokenError as broken:
                    if resumed == RESUMES:
                        advice = "Run the command again: it goes on where this one stopped."
                        raise _failure(url, f"{broken}", advice) from broken
                resumed += 1
                time.sleep(PAUSE_S)
    except OSError as error:
        raise _disk_failure(url, error, folder) from error


class _BrokenError(Exception):
    """The connection broke while bytes arrived. They are kept."""


@dataclass(frozen=True)
class _Reply:
    """The last answer of a chain of redirects, and what the chain says about the file."""

    response: requests.Response
    sha256: str | None  # as the hub publishes it
    validator: str | None  # tells this version of the file from another; None when there is nothing to tell it by
    size: int | None  # bytes of the whole file
    start: int  # byte at which the body starts
    revision: str | None

    def part(self, path: Path) -> Path:
        """Where this version is collected: bytes of two versions never share a file."""
        key = hashlib.sha256((self.validator or "").encode()).hexdigest()[:16]
        return path.with_name(f".{path.name}.{key}.part")


def _fetch(
    session: requests.Session,
    url: str,
    path: Path,
    there: Download | None,
    intact: bool | None,
    progress: Progress | None,
) -> Download:
    """One try at `path`. The file that is `there` stays when the hub publishes its checksum, or none to compare."""
    part, start = _kept_part(path)
    reply = _ask(session, url, start)
    if start and (reply.validator is None or reply.start != start or reply.part(path) != part):
        start = 0
        if reply.response.status_code != 200:
            reply.response.close()
            reply = _ask(session, url, 0)
    with reply.response as response:
        if there and (reply.sha256 == there.sha256 or (reply.sha256 is None and intact)):
            _drop_parts(path)
            return _remember(path, there.sha256, url, reply)
        part = reply.part(path)
        _drop_parts(path, but=part)
        _check_space(url, path.parent, start, reply.size)
        with open(part, "ab") as out:
            out.truncate(start)
            if response.status_code != 416:  # 416: nothing is missing
                _receive(response, out, start, reply.size, progress)
            os.fsync(out.fileno())
    sha256 = file_sha256(part)
    if reply.sha256 not in (None, sha256):
        part.unlink()
        happened = f"what arrived is damaged or another file: its SHA-256 is {sha256} instead of {reply.sha256}"
        advice = "The bad file was removed. Run the command again, without a mirror if you use one."
        raise _failure(url, happened, advice)
    _record_path(path).unlink(missing_ok=True)  # it is about the file that goes
    os.replace(part, path)
    return _remember(path, sha256, url, reply)


def _receive(
    response: requests.Response, out: BinaryIO, start: int, size: int | None, progress: Progress | None
) -> None:
    """Append the body of `response` to `out`, which holds `start` bytes. Raises _BrokenError when some are missing."""
    import requests

    done = start
    if progress:
        progress(done, size)
    try:
        for chunk in response.iter_content(CHUNK):
            out.write(chunk)
            done += len(chunk)
            if progress:
                progress(done, size)
    except requests.RequestException as error:
        what = f"no byte came for {READ_S:.0f} s" if _caused_by(error, TimeoutError) else "the connection broke"
        raise _BrokenError(f"{what} after {done} of {size or 'an unknown number of'} bytes") from error
    if size is not None and done < size:
        raise _BrokenError(f"the connection ended after {done} of {size} bytes")


def _ask(session: requests.Session, url: str, start: int) -> _Reply:
    """The answer to a request for `url` from byte `start` on. Raises WeightsError when it is not the file."""
    from requests.utils import get_environ_proxies

    headers = {"User-Agent": f"umlite/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    linked: dict[str, str] = {}
    hop, redirected = url, False
    for _ in range(HOPS + 1):
        session.cookies.clear()
        try:
            response = session.get(
                hop,
                headers=headers,
                stream=True,
                allow_redirects=False,
                timeout=(CONNECT_S, READ_S),
                proxies=get_environ_proxies(hop, no_proxy=None),
            )
        except OSError as error:  # every error of requests is one
            raise _network_failure(url, hop, error) from error
        for name in ("X-Linked-Etag", "X-Linked-Size", "X-Repo-Commit"):
            if name in response.headers:
                linked.setdefault(name, response.headers[name])
        if not response.is_redirect:
            break
        response.close()
        target = urljoin(hop, response.headers["Location"])
        if hop.startswith("https:") and not target.startswith("https:"):
            raise _failure(url, f"it leads to {_shown(target)}, which is not encrypted", "Use another mirror.")
        hop, redirected = target, True
    else:
        raise _failure(url, f"it leads from one address to the next, more than {HOPS} times", "Check HF_ENDPOINT.")
    if response.status_code not in (200, 206) and not (start and response.status_code == 416):
        response.close()
        raise _status_failure(url, hop, response.status_code)
    if response.headers.get("Content-Type", "").startswith("text/html"):
        response.close()
        advice = "Log in to this network or proxy, or check HF_ENDPOINT."
        raise _failure(url, "a web page came instead of the file", advice)
    return _reply(response, linked, start, redirected=redirected)


def _reply(response: requests.Response, linked: dict[str, str], start: int, *, redirected: bool) -> _Reply:
    etag = response.headers.get("ETag")
    published = linked.get("X-Linked-Etag") or (None if redirected else etag)
    sha256 = (published or "").removeprefix("W/").strip('"').lower()
    known = bool(SHA256.fullmatch(sha256))
    size = linked.get("X-Linked-Size") if "X-Linked-Etag" in linked else None
    first = 0
    span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status_code in (206, 416) and span:
        size = size or span[2]
        complete = response.status_code == 416 and size == str(start)
        first = start if complete else int(span[1] or 0)
    elif response.status_code == 200 and "Content-Encoding" not in response.headers:
        size = size or response.headers.get("Content-Length")
    return _Reply(
        response,
        sha256=sha256 if known else None,
        validator=sha256 if known else published or etag or response.headers.get("Last-Modified"),
        size=int(size) if size and size.isdecimal() else None,
        start=first,
        revision=linked.get("X-Repo-Commit"),
    )


def _session() -> requests.Session:
    """A session that sends no login (.netrc stays unread) and trusts the system's authorities besides requests' own."""
    import requests
    from requests.adapters import HTTPAdapter

    trust = ssl.create_default_context()  # reads SSL_CERT_FILE and SSL_CERT_DIR

    class SystemTrust(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, ssl_context=trust, **kwargs)

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            return super().proxy_manager_for(proxy, ssl_context=trust, **kwargs)

    session = requests.Session()
    session.trust_env = False
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.mount("https://", SystemTrust())
    return session


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
            raise _failure(url, happened, "Wait until that one is done.") from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):  # network file systems without locks
                raise
        yield


def _recall(path: Path, url: str) -> tuple[Download | None, bool | None]:
    """The file that is there, and whether it still is what was downloaded: None when there is no record of that."""
    if not path.is_file():
        return None, None
    sha256 = file_sha256(path)
    try:
        kept = Download(path, **json.loads(_record_path(path).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return Download(path, sha256, _shown(url), revision=None, verified=False), None
    return replace(kept, sha256=sha256), kept.sha256 == sha256


def _remember(path: Path, sha256: str, url: str, reply: _Reply) -> Download:
    """The finished download, written down in a hidden file beside it."""
    done = Download(path, sha256, _shown(url), reply.revision, verified=reply.sha256 is not None)
    record = {name: value for name, value in asdict(done).items() if name != "path"}
    _record_path(path).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return done


def _record_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.json")


def _parts(path: Path) -> list[Path]:
    return [
        p for p in path.parent.glob(".*.part") if re.fullmatch(rf"\.{re.escape(path.name)}\.\w{{16}}\.part", p.name)
    ]


def _kept_part(path: Path) -> tuple[Path | None, int]:
    """The largest partial file of `path` and its bytes."""
    size, part = max(((p.stat().st_size, p) for p in _parts(path)), default=(0, None))
    return part, size


def _drop_parts(path: Path, *, but: Path | None = None) -> None:
    for part in _parts(path):
        if part != but:
            part.unlink()


def _check_space(url: str, folder: Path, start: int, size: int | None) -> None:
    free = shutil.disk_usage(folder).free
    if size is not None and size - start > free:
        happened = f"{(size - start) / 1e6:.0f} MB are missing and {folder} has {free / 1e6:.0f} MB of space left"
        raise _failure(url, happened, "Free some space, or choose another folder.")


def _checked_endpoint(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        if parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment:
            return endpoint
    except ValueError:  # brackets that do not close
        pass
    raise WeightsError(
        f"Cannot download from {endpoint!r}: expected the address of a hub or mirror, such as {HUB}. Check HF_ENDPOINT."
    )


def _shown(url: str) -> str:
    """`url` without login and query: both can be secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _failure(url: str, happened: str, advice: str) -> WeightsError:
    shown = _shown(url)
    return WeightsError(
        f"Cannot download {shown}: {happened}. {advice} Without network here: on a machine with network download "
        f"{shown}, copy it here, then run `umlite weights convert {shown.rpartition('/')[2]}`."
    )


def _disk_failure(url: str, error: OSError, folder: Path) -> WeightsError:
    advice = {
        errno.ENOSPC: "Free some space and run the command again: it goes on where this one stopped.",
        errno.EDQUOT: "Free some of your quota and run the command again: it goes on where this one stopped.",
    }.get(error.errno or 0, "Choose a folder you may write to.")
    return _failure(url, f"cannot write to {folder}: {error.strerror or error}", advice)


def _status_failure(url: str, hop: str, status: int) -> WeightsError:
    host = urlsplit(hop).hostname
    happened, advice = {
        401: ("asks for a login (401): the repository is private, gated or gone", "Look at its page in a browser."),
        403: (
            "refuses (403): gated, or blocked on the way",
            "Accept the terms on its page, or ask your network's admin.",
        ),
        404: ("does not have it (404): moved or renamed", "Check HF_ENDPOINT, or look for a newer umlite."),
        407: ("wants a login of the proxy (407)", "Put it into HTTPS_PROXY: http://user:password@proxy:port."),
        429: ("has had too many requests from this address (429)", "Wait some minutes and run the command again."),
    }.get(status, (f"answered with status {status}", "Check HF_ENDPOINT and the proxy."))
    if status >= 500:
        happened, advice = f"has a problem of its own ({status})", "Try again later, or set HF_ENDPOINT to a mirror."
    return _failure(url, f"{host} {happened}", advice)


def _network_failure(url: str, hop: str, error: OSError) -> WeightsError:
    from requests import exceptions

    parts = urlsplit(hop)
    host = parts.netloc.rpartition("@")[2]
    reason = f"{_root(error)}".replace(hop, _shown(hop))
    advice = "Check the network, and HTTPS_PROXY if this network needs a proxy."
    if isinstance(error, ValueError):  # what requests raises about addresses
        happened, advice = f"an address cannot be used ({reason})", "Check HF_ENDPOINT and HTTPS_PROXY."
    elif isinstance(error, exceptions.ProxyError):
        happened, advice = f"the proxy failed on the way to {host} ({reason})", "Check HTTPS_PROXY and NO_PROXY."
    elif isinstance(error, exceptions.SSLError):
        happened = f"TLS to {host} failed ({reason})"
        advice = "If your network inspects traffic, set SSL_CERT_FILE or REQUESTS_CA_BUNDLE to its certificate file."
    elif _caused_by(error, socket.gaierror):
        happened = f"the name {parts.hostname} cannot be resolved (DNS)"
    elif _caused_by(error, ConnectionRefusedError):
        happened = f"{host} refused the connection"
    elif isinstance(error, exceptions.Timeout):
        happened = f"{host} did not answer in time"
    elif isinstance(error, exceptions.RequestException):
        happened = f"the connection to {host} failed ({reason})"
    else:  # a certificate file that is not there is a plain OSError
        happened, advice = reason, "Check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE."
    return _failure(url, happened, advice)


def _root(error: BaseException) -> BaseException:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The first error of type `kind` behind `error`."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error

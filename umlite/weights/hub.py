"""Requests to a hub of weights: which file an address means, and its bytes.

The hub answers GET /{repo}/resolve/main/{file} with a redirect to its content network. That redirect, and nothing
after it, carries the file's SHA-256 (X-Linked-Etag) and size (X-Linked-Size); the ETag of the content network is
another hash of 64 digits. Redirects are therefore followed here, hop by hop. Nothing is sent but the address, a
User-Agent and a Range: no login that the address does not hold, no cookies, no other traffic.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from time import monotonic
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, getproxies, proxy_bypass

from umlite import __version__
from umlite.weights.download_errors import failure, refused, shown, unreachable

HOPS = 8  # requests for one file
SILENCE_S = 30.0  # the longest wait for an answer or for bytes
SLOWEST = 10_000  # bytes a second over SILENCE_S: a slower connection counts as broken, so that every download ends
CHUNK = 1 << 16  # bytes


class BrokenError(Exception):
    """The connection broke, or slowed to a trickle, while bytes arrived."""


@dataclass(frozen=True)
class Offer:
    """A file as a hub offers it.

    Attributes:
        response: open answer whose body starts at byte `start` of the file; the receiver closes it.
        sha256: checksum that the hub publishes, None when it publishes none.
        size: bytes of the whole file.
        start: bytes that need not be sent again.
    """

    response: HTTPResponse
    sha256: str | None
    size: int
    start: int

    def chunks(self) -> Iterator[bytes]:
        """Bytes from `start` on as they arrive, never beyond `size`. Raises BrokenError when some do not arrive."""
        done = counted = self.start
        began = monotonic()
        while done < self.size:
            try:
                chunk = self.response.read1(min(CHUNK, self.size - done))
            except (OSError, HTTPException, ValueError) as error:  # ValueError: a malformed length of a chunk
                happened = "no byte came in time" if isinstance(error, TimeoutError) else "the connection broke"
                raise BrokenError(f"{happened} after {done} of {self.size} bytes") from error
            if not chunk:
                raise BrokenError(f"the connection ended after {done} of {self.size} bytes")
            done += len(chunk)
            yield chunk
            if done < self.size and (seconds := monotonic() - began) > SILENCE_S:
                if done - counted < SLOWEST * seconds:
                    raise BrokenError(f"the connection slowed to a trickle after {done} of {self.size} bytes")
                counted, began = done, monotonic()


def ask(url: str, kept: Callable[[str], int]) -> Offer:
    """Ask for the file at `url`, from byte `kept(sha256)` on where the server can start there.

    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE
    are honoured. Raises DownloadError that says why the file cannot be had.
    """
    proxies = _proxies(url)
    opener = OpenerDirector()  # with these handlers alone it follows no redirect, reads no .netrc and keeps no cookies
    for handler in (ProxyHandler(proxies), HTTPHandler(), HTTPSHandler(context=_trust(url))):
        opener.add_handler(handler)
    hop, sha256, size, start = url, None, None, 0
    for _ in range(HOPS):
        asked = start
        response = _answer(opener, url, hop, start, proxied=urlsplit(hop).scheme in proxies)
        if sha256 is None and (sha256 := _sha256(response)) and (size := _linked_size(response)):
            start = there if (there := kept(sha256)) <= size else 0
            if start == size:
                return Offer(response, sha256, size, start)
        if 300 <= response.status < 400 and (location := response.headers["Location"]):
            hop = _target(url, hop, location)
        elif start == asked:
            break
        response.close()
    else:
        raise failure(url, f"it leads from one address to the next, more than {HOPS} times", "Check HF_ENDPOINT.")
    start = start if response.status == 206 else 0
    if size is None and response.length is not None:
        size = start + response.length
    if response.status in (200, 206) and size is not None and response.headers.get_content_type() != "text/html":
        return Offer(response, sha256, size, start)
    response.close()
    raise refused(url, hop, response.status, sized=size is not None)


def _answer(opener: OpenerDirector, url: str, hop: str, start: int, *, proxied: bool) -> HTTPResponse:
    """Answer to one request, whatever its status."""
    parts = urlsplit(hop)
    request = Request(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    request.add_header("User-Agent", f"umlite/{__version__}")
    request.add_header("Accept-Encoding", "identity")
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        return opener.open(request, timeout=SILENCE_S)
    except (OSError, HTTPException, ValueError) as error:
        proxied = proxied and not proxy_bypass(parts.hostname or "")
        raise unreachable(url, hop, error, proxied=proxied) from error


def _proxies(url: str) -> dict[str, str]:
    """Address of the proxy of each scheme that has one."""
    named = getproxies()
    proxies = {scheme: proxy for scheme in ("http", "https") if (proxy := named.get(scheme) or named.get("all"))}
    for proxy in proxies.values():
        if "://" in proxy and not proxy.lower().startswith(("http://", "https://")):
            happened = f"expected an HTTP proxy, found {proxy.partition(':')[0]}://"
            raise failure(url, happened, "Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY.")
    return proxies


def _trust(url: str) -> ssl.SSLContext:
    """The system's certificate authorities (or those of SSL_CERT_FILE and SSL_CERT_DIR), certifi's, the user's."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(variable):
            try:
                context.load_verify_locations(**{"capath" if os.path.isdir(path) else "cafile": path})
            except OSError as error:  # ssl.SSLError is one
                happened = f"{variable} names no certificate file ({error.strerror or error})"
                raise failure(url, happened, f"Check {variable}.") from error
    return context


def _target(url: str, hop: str, location: str) -> str:
    """Where a redirect leads. Raises DownloadError when it leads away from encryption, or to no server at all."""
    target = urljoin(hop, location)
    if not target.startswith("https:" if hop.startswith("https:") else ("https:", "http:")):
        raise failure(url, f"it leads to {shown(target)}, which is not encrypted", "Use another mirror.")
    return target


def _sha256(response: HTTPResponse) -> str | None:
    etag = response.headers.get("X-Linked-Etag", "").removeprefix("W/").strip('"').lower()
    return etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None


def _linked_size(response: HTTPResponse) -> int | None:
    size = response.headers.get("X-Linked-Size", "")
    return int(size) if re.fullmatch(r"[0-9]{1,15}", size) else None

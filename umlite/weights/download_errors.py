"""What a user is told whose download failed: what happened, what to do, and how to do without a network."""

from __future__ import annotations

import errno
import socket
import ssl
from http.client import InvalidURL
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from umlite.errors import DownloadError

STATUS = {
    200: ("sent a web page instead of the file", "Log in to this network or proxy, or check HF_ENDPOINT."),
    401: ("asks for a login (401): the repository is private, gated or gone", "Look at its page in a browser."),
    403: (
        "refuses (403): gated, or blocked on the way",
        "Accept the terms on its page, or ask your network's admin.",
    ),
    404: ("does not have it (404): moved or renamed", "Check HF_ENDPOINT, or look for a newer umlite."),
    407: ("wants a login of the proxy (407)", "Put it into HTTPS_PROXY: http://user:password@proxy:port."),
    429: ("has had too many requests from this address (429)", "Wait some minutes and try again."),
}
FULL = "Free some space and try again: the download goes on where it stopped."


def shown(url: str) -> str:
    """`url` without login and query: both can be secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def failure(url: str, happened: str, advice: str) -> DownloadError:
    """A failed download of `url`. `happened` is half a sentence, `advice` a whole one."""
    return DownloadError(
        f"Cannot download {shown(url)}: {happened}. {advice} Without network here: download that address on another "
        "machine, copy the file here and convert it."
    )


def refused(url: str, hop: str, status: int, *, sized: bool) -> DownloadError:
    """The server at `hop` answered with `status`, with a web page (200), or with a body of unknown size."""
    happened, advice = STATUS.get(status, (f"answered with status {status}", "Check HF_ENDPOINT and the proxy."))
    if status == 200 and not sized:
        happened, advice = "does not state the size of the file", "Check HF_ENDPOINT and the proxy."
    elif status >= 500:
        happened, advice = f"has a problem of its own ({status})", "Try again later, or set HF_ENDPOINT to a mirror."
    return failure(url, f"{urlsplit(hop).hostname} {happened}", advice)


def unreachable(url: str, hop: str, error: Exception, *, proxied: bool) -> DownloadError:
    """No answer came from `hop`; `proxied`: a proxy stands in the way."""
    cause: BaseException = error
    while deeper := cause.__cause__ or cause.__context__:
        cause = deeper
    host = urlsplit(hop).netloc.rpartition("@")[2]
    reason = str(cause).replace(hop, shown(hop)) or type(cause).__name__
    advice = "Check the network, and HTTPS_PROXY if this network needs a proxy."
    if isinstance(cause, ssl.SSLError):
        happened = f"TLS to {host} failed ({reason})"
        advice = "If your network inspects traffic, set SSL_CERT_FILE or REQUESTS_CA_BUNDLE to its certificate file."
    elif isinstance(cause, ValueError | InvalidURL):
        happened, advice = f"an address cannot be used ({reason})", "Check HF_ENDPOINT and HTTPS_PROXY."
    elif proxied:
        happened, advice = f"the proxy failed on the way to {host} ({reason})", "Check HTTPS_PROXY and NO_PROXY."
    elif isinstance(cause, socket.gaierror):
        happened = f"the name {urlsplit(hop).hostname} cannot be resolved (DNS)"
    elif isinstance(cause, ConnectionRefusedError):
        happened = f"{host} refused the connection"
    elif isinstance(cause, TimeoutError):
        happened = f"{host} did not answer in time"
    else:
        happened = f"the connection to {host} failed ({reason})"
    return failure(url, happened, advice)


def disk_failure(url: str, error: OSError, folder: Path) -> DownloadError:
    """The download cannot be written."""
    advice = FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Choose a folder you may write to."
    return failure(url, f"cannot write to {folder}: {error.strerror or error}", advice)

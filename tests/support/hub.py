"""A server on loopback that answers as the hub does: redirect with the checksum, then the content."""

from __future__ import annotations

import hashlib
import http.server
import random
import re
import ssl
import threading
from dataclasses import dataclass, field

from umlite.weights.download import Source

SOURCE = Source("unet", "lab/model", "universal.pth", "CC BY-NC-ND 4.0")
RESOLVE = "/lab/model/resolve/main/universal.pth"
CDN = "/cdn/blob"
MAX_REQUESTS = 40


def content(seed: int, size: int = 1_000_003) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    status: int
    sent: int = 0

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Hub:
    """What the loopback server serves, and what it was asked."""

    data: bytes
    published: str | None = "right"  # the checksum in the redirect: "right", None or any text
    redirect: int | None = 302
    absolute: bool = True
    cut_at: list[int] = field(default_factory=list)  # one byte a content request, where the connection is closed
    status: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    content_type: str = "application/octet-stream"
    cdn_etag: bool = True
    lengths: bool = True
    linked_size: bool = True
    endless: bool = False  # zeros follow the content until the client hangs up
    silent_until: threading.Event | None = None
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    scheme: str = "http"

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def contents(self) -> list[Request]:
        return [r for r in self.requests if r.path.startswith(CDN) or (r.path == RESOLVE and not self.redirect)]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"", cut_at: int | None = None) -> None:
        request = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, status)
        self.hub.requests.append(request)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.hub.lengths:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        body = body if cut_at is None else body[:cut_at]
        self.wfile.write(body)
        request.sent = len(body)
        while self.hub.endless and status in (200, 206):
            request.sent += self.wfile.write(bytes(1 << 16))
        self.close_connection = cut_at is not None or not self.hub.lengths

    def do_HEAD(self) -> None:
        self.answer(405, {})

    def do_GET(self) -> None:
        hub = self.hub
        path = self.path.partition("?")[0]
        if len(hub.requests) >= MAX_REQUESTS:
            self.answer(503, {})
        elif path in hub.status:
            self.answer(hub.status[path], {}, b"no")
        elif path == RESOLVE:
            linked = {"X-Linked-Size": str(len(hub.data))} if hub.linked_size else {}
            if hub.published:
                linked["X-Linked-Etag"] = f'"{sha256(hub.data) if hub.published == "right" else hub.published}"'
            if hub.redirect:
                root = hub.endpoint if hub.absolute else ""
                where = {
                    "Location": f"{root}{CDN}?Signature=secret",
                    "Content-Type": "text/plain",
                    "Set-Cookie": "id=1; Path=/",
                }
                self.answer(hub.redirect, linked | where, b"Found")
            else:
                self.serve(linked)
        elif path == CDN:
            # the content network's ETag has 64 digits too, and is not the SHA-256 of the file
            self.serve({"ETag": f'"{sha256(b"xet" + hub.data)}"'} if hub.cdn_etag else {})
        else:
            self.answer(404, {})

    def serve(self, headers: dict[str, str]) -> None:
        hub = self.hub
        headers["Content-Type"] = hub.content_type
        cut_at = hub.cut_at.pop(0) if hub.cut_at else None
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if hub.silent_until:
            hub.silent_until.wait(30)
        if asked and hub.ranges:
            start, size = int(asked[1]), len(hub.data)
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            self.answer(206, headers, hub.data[start:], cut_at)
        else:
            self.answer(200, headers, hub.data, cut_at)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is part of these tests."""


def serving(handler: type[http.server.BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> Server:
    server = Server(("127.0.0.1", 0), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def serve_hub(hub: Hub, context: ssl.SSLContext | None = None) -> Server:
    server = serving(type("HubHandler", (Handler,), {"hub": hub}), context)
    hub.port = server.server_address[1]
    hub.scheme = "https" if context else "http"
    return server

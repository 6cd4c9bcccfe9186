"""Downloads against a loopback server that answers as the hub does: redirect with the checksum, then the content."""

from __future__ import annotations

import errno
import http.server
import itertools
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hub import (
    CDN,
    RESOLVE,
    SOURCE,
    Hub,
    content,
    serve_hub,
    serving,
    sha256,
)
from umlite.errors import WeightsError
from umlite.weights import download as module
from umlite.weights import hub as transport
from umlite.weights.download import SOURCES, download


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(content(0))
    server = serve_hub(hub)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    certificates = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", *certificates):
        monkeypatch.delenv(name, raising=False)
    resolve = socket.getaddrinfo

    def resolve_loopback(host: str, *args: object, **kwargs: object) -> list:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_loopback)
    monkeypatch.setattr(module, "PAUSE_S", 0.0)


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call gives up at the first broken connection."""
    monkeypatch.setattr(module, "RESUMES", 0)


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir() if not p.name.endswith(".lock")}


def parts(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.name.endswith(".part")]


def failure(hub_or_endpoint: Hub | str, folder: Path) -> str:
    endpoint = hub_or_endpoint if isinstance(hub_or_endpoint, str) else hub_or_endpoint.endpoint
    with pytest.raises(WeightsError) as caught:
        download(SOURCE, folder, endpoint=endpoint)
    message = str(caught.value)
    assert "Without network here: download that address on another machine" in message
    assert RESOLVE in message
    assert "secret" not in message
    assert "\n" not in message
    assert not (folder / SOURCE.file).exists()
    return message


def test_sources_are_the_published_checkpoints() -> None:
    assert set(SOURCES) == {"unet", "swin_unetr"}
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.url("https://huggingface.co/") == (
            f"https://huggingface.co/ljwztc/CLIP-Driven-Universal-Model/resolve/main/clip_driven_universal_{name}.pth"
        )


@pytest.mark.parametrize(("redirect", "absolute"), [(302, True), (307, False), (None, True)])
def test_download_is_whole_verified_and_silent(
    hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture, redirect: int | None, absolute: bool
) -> None:
    hub.redirect, hub.absolute = redirect, absolute
    steps: list[tuple[int, int]] = []
    done = download(
        SOURCE, tmp_path / "new" / "folder", endpoint=hub.endpoint, progress=lambda *step: steps.append(step)
    )
    assert done.path == tmp_path / "new" / "folder" / "universal.pth"
    assert done.path.read_bytes() == hub.data
    assert (done.sha256, done.url) == (sha256(hub.data), hub.endpoint + RESOLVE)
    assert done.verified
    assert not parts(done.path.parent)
    size = len(hub.data)
    assert steps[0] == (0, size)
    assert steps[-1] == (size, size)
    assert len(steps) > 5
    assert [step[0] for step in steps] == sorted({step[0] for step in steps})
    assert capfd.readouterr() == ("", "")


def test_only_the_file_is_requested_with_minimal_headers(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hush\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HF_TOKEN", "hf_hush")
    download(SOURCE, tmp_path / "weights", endpoint=hub.endpoint)
    assert [(r.method, r.path) for r in hub.requests] == [("GET", RESOLVE), ("GET", f"{CDN}?Signature=secret")]
    for request in hub.requests:
        assert set(request.headers) == {"host", "user-agent", "accept-encoding", "connection"}
        assert re.fullmatch(r"umlite/[\w.]+", request.headers["user-agent"])


def test_endpoint_from_the_environment(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint + "/")
    assert download(SOURCE, tmp_path).url == hub.endpoint + RESOLVE


def test_second_call_asks_only_whether_it_is_still_the_file(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = download(SOURCE, tmp_path, endpoint=hub.endpoint)
    sent = sum(request.sent for request in hub.contents)
    steps: list[int] = []
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint, progress=lambda done, _: steps.append(done)) == first
    assert not steps
    asked = len(hub.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).sha256 == first.sha256
    assert len(hub.requests) == asked
    assert sent == len(hub.data)


def test_file_copied_by_hand_is_compared_not_downloaded(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / SOURCE.file).write_bytes(hub.data)
    written = (tmp_path / SOURCE.file).stat().st_mtime_ns
    done = download(SOURCE, tmp_path, endpoint=hub.endpoint)
    assert (done.verified, done.sha256) == (True, sha256(hub.data))
    assert done.path.stat().st_mtime_ns == written


def test_damaged_file_is_replaced(hub: Hub, tmp_path: Path) -> None:
    path = download(SOURCE, tmp_path, endpoint=hub.endpoint).path
    path.write_bytes(hub.data[:-1] + b"?")
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).verified
    assert path.read_bytes() == hub.data


def test_file_is_taken_offline_but_not_called_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "yes")
    (tmp_path / SOURCE.file).write_bytes(b"copied here")
    done = download(SOURCE, tmp_path)
    assert (done.sha256, done.verified) == (sha256(b"copied here"), False)


def test_offline_requests_nothing(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in failure(hub, tmp_path)
    assert not hub.requests


def test_cut_download_is_resumed_by_the_next_call(hub: Hub, tmp_path: Path, once: None) -> None:  # noqa: ARG001
    half = len(hub.data) // 2
    hub.cut_at = [half]
    message = failure(hub, tmp_path)
    assert f"of {len(hub.data)} bytes" in message
    assert "goes on where it stopped" in message
    (part,) = parts(tmp_path)
    kept = part.stat().st_size
    assert half - transport.CHUNK <= kept <= half
    assert part.read_bytes() == hub.data[:kept]

    steps: list[int] = []
    done = download(SOURCE, tmp_path, endpoint=hub.endpoint, progress=lambda done, _: steps.append(done))
    assert done.path.read_bytes() == hub.data
    assert done.verified
    second = hub.contents[-1]
    assert (second.status, second.range, second.sent) == (206, f"bytes={kept}-", len(hub.data) - kept)
    assert steps[0] == kept
    assert not parts(tmp_path)


def test_one_call_resumes_by_itself_but_not_for_ever(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    third = len(hub.data) // 3
    hub.cut_at = [third, third]
    assert download(SOURCE, tmp_path / "a", endpoint=hub.endpoint).path.read_bytes() == hub.data
    assert [r.status for r in hub.contents] == [200, 206, 206]

    monkeypatch.setattr(module, "RESUMES", 3)
    hub.requests.clear()
    hub.cut_at = [0] * 10
    failure(hub, tmp_path / "b")
    assert len(hub.contents) == 4


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_process_leaves_what_the_next_one_resumes(hub: Hub, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from umlite.weights.download import Source, download\n"
        "source = Source('unet', 'lab/model', 'universal.pth', '')\n"
        "def kill(done, total):\n"
        "    if done > total // 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "download(source, Path(sys.argv[1]), endpoint=sys.argv[2], progress=kill)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path), hub.endpoint], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    (part,) = parts(tmp_path)
    kept = part.stat().st_size
    assert kept > len(hub.data) // 3
    done = download(SOURCE, tmp_path, endpoint=hub.endpoint)
    assert hub.contents[-1].range == f"bytes={kept}-"
    assert done.path.read_bytes() == hub.data


def test_keyboard_interrupt_propagates_and_keeps_the_part(hub: Hub, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(SOURCE, tmp_path, endpoint=hub.endpoint, progress=interrupt)
    (part,) = parts(tmp_path)
    kept = part.stat().st_size
    assert kept > len(hub.data) // 2
    assert names(tmp_path) == {part.name}
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).path.read_bytes() == hub.data
    assert hub.contents[-1].range == f"bytes={kept}-"


@pytest.mark.parametrize("published", ["right", None])
def test_versions_are_never_mixed(hub: Hub, tmp_path: Path, once: None, published: str | None) -> None:  # noqa: ARG001
    hub.published = published
    hub.cut_at = [len(hub.data) // 2]
    failure(hub, tmp_path)
    hub.data = content(1, len(hub.data) + 7)
    done = download(SOURCE, tmp_path, endpoint=hub.endpoint)
    assert done.path.read_bytes() == hub.data
    assert hub.contents[-1].range is None
    assert not parts(tmp_path)


def test_hub_that_does_not_redirect_resumes_too(hub: Hub, tmp_path: Path, once: None) -> None:  # noqa: ARG001
    hub.redirect = None
    hub.cut_at = [len(hub.data) // 2]
    failure(hub, tmp_path)
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).path.read_bytes() == hub.data
    assert [r.status for r in hub.contents] == [200, 200, 206]


def test_server_without_ranges_starts_again(hub: Hub, tmp_path: Path, once: None) -> None:  # noqa: ARG001
    hub.ranges = False
    hub.cut_at = [len(hub.data) // 2]
    failure(hub, tmp_path)
    asked = len(hub.contents)
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).path.read_bytes() == hub.data
    assert len(hub.contents) == asked + 1


@pytest.mark.parametrize("extra", [0, 1])
def test_part_that_was_complete_is_finished_without_the_body(hub: Hub, tmp_path: Path, extra: int) -> None:
    def die(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(SOURCE, tmp_path, endpoint=hub.endpoint, progress=die)
    (part,) = parts(tmp_path)
    with open(part, "ab") as file:
        file.write(b"!" * extra)
    hub.requests.clear()
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).path.read_bytes() == hub.data
    assert [r.status for r in hub.contents] == [200] * extra


def test_wrong_bytes_are_removed_and_said(hub: Hub, tmp_path: Path) -> None:
    expected = hub.published = sha256(b"another file")
    message = failure(hub, tmp_path)
    assert f"SHA-256 is {sha256(hub.data)} instead of {expected}" in message
    assert names(tmp_path) == set()
    hub.published = "right"
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).verified


def test_damaged_part_is_removed_so_that_the_next_call_is_right(hub: Hub, tmp_path: Path, once: None) -> None:  # noqa: ARG001
    hub.cut_at = [len(hub.data) // 2]
    failure(hub, tmp_path)
    (part,) = parts(tmp_path)
    part.write_bytes(b"?" + part.read_bytes()[1:])
    assert "The bad file was removed" in failure(hub, tmp_path)
    assert not parts(tmp_path)
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).path.read_bytes() == hub.data


def test_server_without_checksum_is_not_called_verified(hub: Hub, tmp_path: Path) -> None:
    hub.published = None
    done = download(SOURCE, tmp_path, endpoint=hub.endpoint)
    assert (done.verified, done.sha256) == (False, sha256(hub.data))
    assert done.path.read_bytes() == hub.data
    sent = done.path.stat().st_mtime_ns
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint) == done
    assert done.path.stat().st_mtime_ns == sent
    hub.published = "right"
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).verified


def test_file_of_unknown_size_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.linked_size = hub.lengths = False
    assert "does not state the size" in failure(hub, tmp_path)
    assert not parts(tmp_path)


@pytest.mark.parametrize("linked_size", [True, False])
def test_endless_body_is_read_no_further_than_the_stated_size(hub: Hub, tmp_path: Path, linked_size: bool) -> None:
    hub.endless, hub.linked_size, hub.lengths = True, linked_size, not linked_size
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).path.read_bytes() == hub.data
    hub.data = hub.data[:-1]
    hub.published = sha256(b"another file")
    assert "another file" in failure(hub, tmp_path / "other")
    assert names(tmp_path / "other") == set()


def test_connection_that_trickles_counts_as_broken(
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    once: None,  # noqa: ARG001
) -> None:
    """The clock jumps by a minute at every look: 64 kB a minute is too slow, and fast enough for the second try."""
    minutes = itertools.count(step=60.0)
    monkeypatch.setattr(transport, "monotonic", lambda: next(minutes))
    assert "slowed to a trickle" in failure(hub, tmp_path)
    (part,) = parts(tmp_path)
    assert 0 < part.stat().st_size <= transport.CHUNK
    monkeypatch.setattr(transport, "SLOWEST", 1)
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).verified


def test_short_body_without_a_length_is_seen_by_the_size_of_the_hub(hub: Hub, tmp_path: Path, once: None) -> None:  # noqa: ARG001
    hub.lengths, hub.cut_at = False, [1000]
    assert f"ended after 1000 of {len(hub.data)} bytes" in failure(hub, tmp_path)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "asks for a login (401)"),
        (403, "refuses (403): gated"),
        (404, "does not have it (404)"),
        (407, "login of the proxy (407)"),
        (429, "too many requests"),
        (416, "status 416"),
        (500, "problem of its own (500)"),
        (503, "problem of its own (503)"),
        (418, "status 418"),
    ],
)
@pytest.mark.parametrize("path", [RESOLVE, CDN])
def test_status_is_explained(hub: Hub, tmp_path: Path, path: str, status: int, expected: str) -> None:
    hub.status[path] = status
    assert expected in failure(hub, tmp_path)
    assert not parts(tmp_path)


def test_login_page_of_a_network_is_not_taken_for_the_file(hub: Hub, tmp_path: Path) -> None:
    hub.published, hub.redirect, hub.content_type = None, None, "text/html; charset=utf-8"
    assert "sent a web page instead" in failure(hub, tmp_path)


def test_endless_redirects_end(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.hub.CDN", RESOLVE)
    assert "from one address to the next" in failure(hub, tmp_path)
    assert len(hub.requests) == transport.HOPS


def test_refused_port_unknown_name_and_silence(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        assert f"127.0.0.1:{port} refused the connection" in failure(f"http://127.0.0.1:{port}", tmp_path)
    assert "hub.invalid cannot be resolved (DNS)" in failure("http://hub.invalid", tmp_path)
    monkeypatch.setattr(transport, "SILENCE_S", 0.2)
    hub.silent_until = threading.Event()
    assert "did not answer in time" in failure(hub, tmp_path)
    hub.silent_until.set()


def test_password_in_the_address_is_not_shown(tmp_path: Path) -> None:
    assert "hush" not in failure("http://me:hush@hub.invalid", tmp_path)


@pytest.mark.parametrize("endpoint", ["huggingface.co", "ftp://127.0.0.1", "http://", "http://[::1", "https://h?x"])
def test_endpoint_that_is_no_address(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(WeightsError, match="HF_ENDPOINT"):
        download(SOURCE, tmp_path, endpoint=endpoint)


def test_full_disk_is_seen_before_the_download(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=len(hub.data) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "space left" in failure(hub, tmp_path)
    assert not parts(tmp_path)


def test_only_the_missing_bytes_need_space(
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    once: None,  # noqa: ARG001
) -> None:
    hub.cut_at = [len(hub.data) // 2]
    failure(hub, tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=len(hub.data) * 2 // 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).verified


def test_disk_that_fills_up_keeps_the_part(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        message = failure(hub, tmp_path)
    assert "No space left on device" in message
    assert "Free some space" in message
    assert parts(tmp_path)
    assert download(SOURCE, tmp_path, endpoint=hub.endpoint).verified


def test_folder_that_is_a_file(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write to" in failure(hub, tmp_path / "file" / "below")


def test_two_downloads_to_one_folder_do_not_meet(hub: Hub, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    second: list[str] = []

    def again(done: int, _: int) -> None:
        if done and not second:
            second.append(failure(hub, tmp_path))

    assert download(SOURCE, tmp_path, endpoint=hub.endpoint, progress=again).path.read_bytes() == hub.data
    assert "another process is downloading" in second[0]


def proxy_handler(seen: list[str]) -> type[http.server.BaseHTTPRequestHandler]:
    class Proxy(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            """Forward http:// in absolute form."""
            seen.append(f"GET {self.path}")
            host, _, port = self.path.split("/")[2].partition(":")
            with socket.create_connection((host, int(port)), timeout=5) as upstream:
                rest = "/" + self.path.split("/", 3)[3]
                headers = "".join(f"{k}: {v}\r\n" for k, v in self.headers.items() if k.lower() != "connection")
                upstream.sendall(f"GET {rest} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n".encode())
                for _ in range(10_000):
                    block = upstream.recv(1 << 16)
                    if not block:
                        break
                    self.wfile.write(block)
            self.close_connection = True

        def do_CONNECT(self) -> None:
            seen.append(f"CONNECT {self.path}")
            host, _, port = self.path.partition(":")
            with socket.create_connection((host, int(port)), timeout=5) as upstream:
                self.send_response(200)
                self.end_headers()
                for _ in range(10_000):
                    ready, _, _ = select.select([self.connection, upstream], [], [], 5)
                    blocks = [(s, s.recv(1 << 16)) for s in ready]
                    if not ready or not all(block for _, block in blocks):
                        break
                    for sock, block in blocks:
                        (upstream if sock is self.connection else self.connection).sendall(block)
            self.close_connection = True

    return Proxy


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []
    server = serving(proxy_handler(seen))
    yield f"http://127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()


def test_proxy_carries_every_request_unless_excluded(
    hub: Hub, tmp_path: Path, proxy: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, seen = proxy
    monkeypatch.setenv("HTTP_PROXY", address)
    monkeypatch.setenv("http_proxy", address)
    hub.lengths = False  # the little proxy forwards until the connection closes
    assert download(SOURCE, tmp_path / "a", endpoint=hub.endpoint).verified
    assert seen == [f"GET {hub.endpoint}{RESOLVE}", f"GET {hub.endpoint}{CDN}?Signature=secret"]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert download(SOURCE, tmp_path / "b", endpoint=hub.endpoint).verified
    assert len(seen) == 2


def test_proxy_that_is_not_there(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("http_proxy", os.environ["HTTP_PROXY"])
        message = failure(hub, tmp_path)
    assert "the proxy failed" in message
    assert "HTTPS_PROXY" in message
    assert not hub.requests


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", cert]
    subprocess.run([*map(str, command), *names], check=True, capture_output=True, timeout=60)
    return cert, key


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_own_authority_is_honoured_through_a_proxy(
    certificate: tuple[Path, Path],
    tmp_path: Path,
    proxy: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    hub = Hub(content(0))
    server = serve_hub(hub, context)
    try:
        message = failure(hub, tmp_path)
        assert f"TLS to 127.0.0.1:{hub.port} failed" in message
        assert "SSL_CERT_FILE" in message
        monkeypatch.setenv(variable, str(cert))
        monkeypatch.setenv("HTTPS_PROXY", proxy[0])
        monkeypatch.setenv("https_proxy", proxy[0])
        assert download(SOURCE, tmp_path, endpoint=hub.endpoint).verified
        assert proxy[1]
        assert set(proxy[1]) == {f"CONNECT 127.0.0.1:{hub.port}"}
        hub.scheme = "http"  # where the redirect leads to now
        with pytest.raises(WeightsError, match="not encrypted"):
            download(SOURCE, tmp_path / "other", endpoint=f"https://127.0.0.1:{hub.port}")
    finally:
        server.shutdown()
        server.server_close()


def test_authority_file_that_is_not_there(
    certificate: tuple[Path, Path],  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    assert "Check REQUESTS_CA_BUNDLE" in failure("https://127.0.0.1:9", tmp_path)


def test_import_is_light() -> None:
    code = "import sys, umlite.weights.download; print(*({'certifi', 'torch', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""

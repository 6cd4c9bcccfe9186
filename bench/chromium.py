"""A headless Chromium that pages are tried in, driven through a pipe: no driver, no port, no network."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 60.0
"""For an answer of a browser on a busy machine; a page that never does what it should fails after these."""


def program() -> str | None:
    """The browser's program, if one is installed."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """A browser that speaks Chrome's DevTools protocol. Made by `browser`.

    Args:
        write, read: file descriptors of its pipe.
    """

    _session: str | None = None

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._ids = itertools.count(1)
        self._buffer = b""
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method and wait for its result. Raises RuntimeError with the browser's message."""
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript, awaited. Raises RuntimeError where it throws."""
        found = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true. Raises RuntimeError if the page complains, or takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._holds(condition):
            if self.complaints() or time.monotonic() > deadline:
                raise RuntimeError(f"waited for {condition} in vain; the page says {self.complaints()}")

    def _holds(self, condition: str) -> bool:
        """Whether an expression is true in a moment; not while another page takes the place of this one."""
        try:
            return bool(self.run(f"new Promise(done => setTimeout(() => done(Boolean({condition})), 5))"))
        except RuntimeError as error:
            if "navigated" in str(error):
                return False
            raise

    def painted(self) -> None:
        """Wait for what has been asked for to be drawn."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def view(self, width: int, height: int, *, dark: bool = False, touch: bool = False) -> None:
        """Set the size of the window, the system's colours and whether there are fingers."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Emulation.setTouchEmulationEnabled", enabled=touch)

    def centre(self, selector: str) -> tuple[float, float]:
        """The middle of an element in the window, scrolled into view."""
        box = f"document.querySelector({json.dumps(selector)})"
        x, y = self.run(
            f"(() => {{ const e = {box}; e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();"
            " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        return x, y

    def click(self, selector: str) -> None:
        """Press an element with the mouse."""
        x, y = self.centre(selector)
        self.drag((x, y), (x, y))

    def drag(self, start: tuple[float, float], end: tuple[float, float], *, button: str = "left") -> None:
        """Press a button of the mouse at one place of the window and release it at another."""
        held = {"left": 1, "right": 2}[button]
        where = [("mousePressed", *start), ("mouseMoved", *end), ("mouseReleased", *end)]
        for kind, x, y in where:
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=held, clickCount=1)

    def wheel(self, selector: str, notches: int) -> None:
        """Turn the wheel over an element."""
        x, y = self.centre(selector)
        for _ in range(abs(notches)):
            turn = 100 if notches > 0 else -100
            self.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=turn)

    def swipe(self, selector: str, down: float, *, fingers: int = 1) -> None:
        """Move fingers side by side over an element."""
        x, y = self.centre(selector)

        def touch(kind: str, moved: float, count: int = fingers) -> None:
            points = [{"x": x + 30 * i, "y": y + moved, "id": i} for i in range(count)]
            self.send("Input.dispatchTouchEvent", type=kind, touchPoints=points)

        touch("touchStart", 0)
        touch("touchMove", down)
        touch("touchEnd", 0, 0)

    def press(self, *keys: str) -> None:
        """Press keys one after the other, such as "Tab" or "ArrowUp"."""
        for key in keys:
            text = {"Enter": "\r", " ": " "}.get(key, "")
            code = {"Enter": 13, " ": 32, "Tab": 9}.get(key, 0)
            self.send("Input.dispatchKeyEvent", type="keyDown", key=key, text=text, windowsVirtualKeyCode=code)
            self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """The window, or the whole page, as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def requests(self) -> list[str]:
        """Addresses that the page has asked for since it was opened."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Errors that the page threw or the browser logged, such as refusals of the page's policy."""
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(json.dumps(parameters["exceptionDetails"]))
            elif event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                found.append(parameters["entry"]["text"])
        return found

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise RuntimeError(f"the browser has not answered for {PATIENCE_S:.0f} s")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(message))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A running browser. profile: a folder for its files."""
    name = program()
    assert name is not None
    to_browser, from_browser = os.pipe(), os.pipe()
    command = [
        name, "--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run", "--disable-gpu",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars", "--no-sandbox", "--disable-dev-shm-usage",
    ]  # fmt: skip

    def as_three_and_four() -> None:
        first, second = os.dup(to_browser[0]), os.dup(from_browser[1])
        os.dup2(first, 3)
        os.dup2(second, 4)

    process = subprocess.Popen(
        command, preexec_fn=as_three_and_four, close_fds=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(to_browser[0])
    os.close(from_browser[1])
    try:
        yield Browser(to_browser[1], from_browser[0])
    finally:
        os.close(to_browser[1])
        os.close(from_browser[0])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
        process.kill()
        process.wait()

"""Decoding by gdcm in a process of its own: damaged pixels can end that process, and must not end this one.

`python -m umlite.dicom.apart SECONDS` is the other process, which ends after so long without a request. It reads
requests from its input: a line of JSON, then the pixels.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

IDLE_S = 10.0
"""A process that gets no request for so long ends."""
_PLUGIN = "gdcm"
_FAILED = 1


class DecodingError(Exception):
    """Pixels that the decoder refuses, or that ended it."""


def decode_apart(syntax: str, data: bytes, options: dict[str, Any]) -> np.ndarray:
    """Decode one frame by gdcm.

    Any number of threads may call this; each keeps a process busy.

    Args:
        syntax: UID of its transfer syntax.
        data: the compressed frame.
        options: what pydicom's decoders need of the header.

    Raises:
        DecodingError: the pixels are damaged.
    """
    request = json.dumps({"syntax": syntax, "bytes": len(data), "options": options}).encode() + b"\n" + data
    while True:
        child = _take()
        try:
            answer = child.ask(request)
        except (OSError, EOFError) as error:
            if child.end() == 0:  # it had been idle for too long
                continue
            raise DecodingError("the decoder failed") from error
        except BaseException:
            child.end()
            raise
        _give_back(child)
        if isinstance(answer, str):
            raise DecodingError(answer)
        return answer


@dataclass(frozen=True, eq=False)
class _Child:
    """A process that decodes. owner: the process that started it."""

    process: subprocess.Popen[bytes]
    owner: int

    @classmethod
    def start(cls) -> _Child:
        search = os.pathsep.join(path for path in sys.path if path)
        process = subprocess.Popen(
            [sys.executable, "-m", "umlite.dicom.apart", str(IDLE_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": search},
        )
        return cls(process, os.getpid())

    def ask(self, request: bytes) -> np.ndarray | str:
        """The frame, or why there is none. Raises OSError or EOFError where the process has ended."""
        given, answers = self.process.stdin, self.process.stdout
        assert given is not None
        assert answers is not None
        given.write(request)
        given.flush()
        line = answers.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        answer = json.loads(line)
        if "error" in answer:
            return str(answer["error"])
        data = answers.read(answer["bytes"])
        if len(data) < answer["bytes"]:
            raise EOFError
        return np.frombuffer(data, answer["dtype"]).reshape(answer["shape"])

    def end(self) -> int:
        """End it, and say how it had ended: 0 if it did so itself, in peace."""
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            return self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return _FAILED


_lock = threading.Lock()
_idle: list[_Child] = []


def _take() -> _Child:
    with _lock:
        while _idle:
            child = _idle.pop()
            if child.owner == os.getpid():  # a forked process must not use its parent's
                return child
    return _Child.start()


def _give_back(child: _Child) -> None:
    with _lock:
        _idle.append(child)


def _serve(given: IO[bytes], answers: IO[bytes], idle_s: float) -> None:
    """Decode until there are no more requests, or none for a while."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    while True:
        clock = threading.Timer(idle_s, os._exit, [0])
        clock.daemon = True
        clock.start()
        line = given.readline()
        clock.cancel()
        if not line:
            return
        request = json.loads(line)
        data = given.read(request["bytes"])
        try:
            decoder = get_decoder(request["syntax"])
            options = request["options"]
            array, _ = decoder.as_array(encapsulate([data]), index=0, raw=True, decoding_plugin=_PLUGIN, **options)
        except Exception as error:  # decoders raise anything where data are damaged
            answers.write(json.dumps({"error": str(error)[:200]}).encode() + b"\n")
        else:
            array = np.ascontiguousarray(array)
            about = {"dtype": array.dtype.str, "shape": array.shape, "bytes": array.nbytes}
            answers.write(json.dumps(about).encode() + b"\n" + array.tobytes())
        answers.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer, float(sys.argv[1]))

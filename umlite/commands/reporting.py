"""Exit codes, and how a command ends that cannot go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from umlite.errors import UmliteError
from umlite.terminal import show_json, tell

BAD_INPUT, DEFECT, INTERRUPTED = 2, 1, 130
BEYOND_TOLERANCE = 1


@contextmanager
def reported(as_json: bool, done: Callable[[], dict[str, Any]] = dict) -> Iterator[None]:
    """Turn an UmliteError or an interruption into one message and an exit code; JSON holds what was `done` by then."""
    try:
        yield
    except UmliteError as error:
        message, code = str(error), BAD_INPUT
    except KeyboardInterrupt as interruption:
        message = "Interrupted: no partial file was left."
        code = getattr(interruption, "exit_code", INTERRUPTED)
    else:
        return
    if as_json:
        show_json({**done(), "error": message, "exit_code": code})
    tell(f"Error: {message}" if code == BAD_INPUT else message)
    raise typer.Exit(code)

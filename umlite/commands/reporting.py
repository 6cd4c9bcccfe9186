"""Exit codes, messages of errors, and the end of a command that cannot go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import typer

from umlite.errors import UmliteError
from umlite.machine.memory import as_refusal
from umlite.terminal import show_json, tell

BAD_INPUT, DEFECT, INTERRUPTED = 2, 1, 130
BEYOND_TOLERANCE = 1
SOME_FAILED = 1

_flags: ContextVar[Mapping[str, str]] = ContextVar("_flags", default={})  # noqa: B039  never changed in place


@contextmanager
def naming(flags: Mapping[str, str]) -> Iterator[None]:
    """Within this context, messages name these flags (option name -> flag)."""
    token = _flags.set(flags)
    try:
        yield
    finally:
        _flags.reset(token)


def message_of(error: Exception | None) -> str:
    """An error for a person at the terminal, with the flags of the options that it is about."""
    text, flags = str(error) or repr(error), _flags.get()
    named = [flags[name] for name in getattr(error, "about", ()) if name in flags]
    return f"{text} ({', '.join(named)})" if named else text


def prefixed(scan: object, error: Exception | None) -> str:
    """An error of one scan among several, which begins with its name."""
    text = message_of(error)
    return text if text.startswith(str(scan)) else f"{scan}: {text}"


@contextmanager
def reported(as_json: bool, done: Callable[[], dict[str, Any]] = dict) -> Iterator[None]:
    """Turn an UmliteError or an interruption into one message and an exit code. JSON holds what was `done` by then."""
    try:
        yield
    except UmliteError as error:
        message, code = message_of(error), BAD_INPUT
    except typer.Exit:
        raise
    except Exception as error:
        if (refusal := as_refusal(error)) is None:
            raise
        message, code = message_of(refusal), BAD_INPUT
    except KeyboardInterrupt as interruption:
        message = _interrupted()
        code = getattr(interruption, "exit_code", INTERRUPTED)
    else:
        return
    if as_json:
        show_json({**done(), "error": message, "exit_code": code})
    tell(f"Error: {message}" if code == BAD_INPUT else message)
    raise typer.Exit(code)


def _interrupted() -> str:
    from umlite.outputs.file_set import unfinished

    if markers := unfinished():
        return f"Interrupted. {markers[0]} says which results are incomplete; the next run there completes them."
    return "Interrupted: no partial file was left."

"""Exit codes, messages of errors, and the end of a command that cannot go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import typer

from umlite.errors import UmliteError
from umlite.terminal import show_json, tell

BAD_INPUT, DEFECT, INTERRUPTED = 2, 1, 130
BEYOND_TOLERANCE = 1

_LOADING_FAILED = ("failed to map segment", "annot allocate memory", "cannot create shared object descriptor")

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
    except (ImportError, MemoryError, OSError, RuntimeError) as error:
        if not _is_refused_memory(error):
            raise
        message, code = _refused(error), BAD_INPUT
    except KeyboardInterrupt as interruption:
        message = _interrupted()
        code = getattr(interruption, "exit_code", INTERRUPTED)
    else:
        return
    if as_json:
        show_json({**done(), "error": message, "exit_code": code})
    tell(f"Error: {message}" if code == BAD_INPUT else message)
    raise typer.Exit(code)


def _is_refused_memory(error: BaseException) -> bool:
    """Whether the system refused memory, to a library that was being loaded or to anything that had no better word."""
    from umlite.machine.memory import is_refusal

    loading = isinstance(error, ImportError) and any(sign in str(error) for sign in _LOADING_FAILED)
    return loading or is_refusal(error)


def _refused(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if any(sign in line for sign in _LOADING_FAILED)] or [""]
    what = f" ({lines[0].strip()[:200]})" if lines[0] else ""
    return f"Too little memory{what}. Allow this process more (ulimit -v), or free some."


def _interrupted() -> str:
    from umlite.outputs.file_set import unfinished

    if markers := unfinished():
        return f"Interrupted. {markers[0]} says which results are incomplete; the next run there completes them."
    return "Interrupted: no partial file was left."

"""The command line in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from umlite.cli import app


def run(*arguments: object, code: int = 0, stdin: str | None = None) -> Result:
    """Run `umlite` with these arguments, which must end with this exit code. What it raises otherwise is raised."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def umlite(*arguments: object, code: int = 0) -> str:
    """What `run` prints."""
    return run(*arguments, code=code).output

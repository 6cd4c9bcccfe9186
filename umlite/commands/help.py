"""How every command of the command line behaves: help with panels, flags in messages, errors of usage."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from umlite.commands.reporting import BAD_INPUT, INTERRUPTED, naming
from umlite.terminal import lost_output, show_json, tell

LISTS = ("classes", "packs", "series")
"""Options that hold a list: of two of them, the first would be lost."""
PANELS = ("Arguments", "What", "Output", "Besides the masks", "Several scans", "How much", "Expert")


class PanelledCommand(TyperCommand):
    """A command that shows options under the headings that they name, `PANELS`; under "What" where they name none.

    Messages of errors end with the flags of the options that they are about, where the command has them.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the command line. A list that is given twice is an error of usage."""
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        names = [parameter.name for parameter in order]
        for parameter in order:
            if parameter.name in LISTS and parameter.opts[0].startswith("-") and names.count(parameter.name) > 1:
                flag = max(parameter.opts, key=len)
                ctx.fail(f"{flag} is given more than once: join its values with commas.")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with naming({p.name: p.opts[0] for p in self.params if p.name and p.param_type_name == "option"}):
            return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then one section for each panel."""
        sections: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                panel = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or "What"
                sections[panel].append(record)
        for panel, rows in sections.items():
            if rows:
                with formatter.section(panel):
                    formatter.write_dl(rows)


class Commands(TyperGroup):
    """All commands. Errors of usage are one JSON object on stdout where JSON was asked for, like every other error."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run a command and exit."""
        given = list(sys.argv[1:] if args is None else args)
        options["standalone_mode"] = False
        try:
            code = super().main(given, *rest, **options)
        except Exception as error:
            code = _usage_error(error, as_json="--json" in given)
        code = code if isinstance(code, int) else 0
        if message := lost_output():
            tell(f"Error: {message}")
            code = code or BAD_INPUT
        sys.exit(code)


def _usage_error(error: Exception, *, as_json: bool) -> int:
    """Show an error of usage. Typer may bring its own copy of Click, so its errors are known by their parts.

    Raises any other error again.
    """
    if type(error).__name__ == "Abort":
        tell("Interrupted.")
        return INTERRUPTED
    if not hasattr(error, "format_message"):
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return BAD_INPUT
    message = error.format_message()
    if as_json:
        show_json({"error": message, "exit_code": BAD_INPUT})
    if context := getattr(error, "ctx", None):
        for line in context.get_usage().splitlines():
            tell(line)
        tell(f"Try '{context.command_path} --help' for help.")
    tell(f"Error: {message}")
    return BAD_INPUT

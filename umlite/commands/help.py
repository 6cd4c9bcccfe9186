"""How every command of the command line behaves: help in plain text with panels, flags named in messages."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from umlite.commands.reporting import naming

PANELS = ("Arguments", "What", "How much", "Expert")


class PanelledCommand(TyperCommand):
    """A command that shows options under the headings that they name, `PANELS`; under "What" where they name none.

    Messages of errors end with the flags of the options that they are about, where the command has them.
    """

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

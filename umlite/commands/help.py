"""Help pages whose options stand in panels, in plain text."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

PANELS = ("Arguments", "What", "How much", "Expert")


class PanelledCommand(TyperCommand):
    """Shows options under the headings that they name, `PANELS`; under "What" where they name none."""

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

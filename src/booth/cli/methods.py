"""booth methods: what can be chosen with --method."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from booth.cli.options import AsJson, Base
from booth.cli.output import finish
from booth.core.words import size

if TYPE_CHECKING:
    from booth.catalogue import MethodFacts


def methods(base: Base = None, as_json: AsJson = False) -> None:
    """List the methods, what each trains and saves and its defaults, the model families, and what is chosen by name."""
    from booth.catalogue import describe_choices, describe_families, describe_methods
    from booth.families.quiet import hush

    hush()
    entries = describe_methods(base)
    families = describe_families()
    lines = [line for entry in entries for line in _in_words(entry)]
    lines += [
        _paragraph(family["name"], f"{family['title']}: {', '.join(family['methods'])}", 20) for family in families
    ]
    choices = describe_choices()
    lines += ["", *(_paragraph(field, ", ".join(c["name"] for c in chosen), 20) for field, chosen in choices.items())]
    finish({"methods": entries, "families": families, "choices": choices}, lines, as_json)


def _in_words(entry: MethodFacts) -> list[str]:
    tiny, full = entry["defaults"]["tiny"], entry["defaults"]["full"]
    defaults = ", ".join(
        f"{key}={_shown(full[key])}" if tiny[key] == full[key] else f"{key}={_shown(tiny[key])}/{_shown(full[key])}"
        for key in full
    )
    lines = [
        f"{entry['name']}: {entry['title']}",
        _paragraph("trains", entry["trains"]),
        _paragraph("saves", ", ".join(entry["files"])),
        _paragraph("works on", ", ".join(entry["families"])),
    ]
    if "values" in entry and "bytes" in entry and "base" in entry:
        lines.append(_paragraph("size", f"{entry['values']:,} values, {size(entry['bytes'])}, on {entry['base']}"))
    return [*lines, _paragraph("defaults", f"{defaults} (embedded base/full-size base; --set KEY=VALUE)"), ""]


def _paragraph(name: str, text: str, width: int = 10) -> str:
    return textwrap.fill(f"  {name:<{width}}{text}", 110, subsequent_indent=" " * (width + 2))


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

"""booth inspect: what a concept is, after checking its files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson
from booth.cli.output import finish, table
from booth.core.words import size


def inspect(
    concept: Annotated[Path, typer.Argument(help="Folder of a concept.", metavar="CONCEPT")],
    as_json: AsJson = False,
) -> None:
    """Check a concept's files against their hashes and show how it came about."""
    from booth.core.concept import read_record

    record = read_record(concept)
    rows = [
        ["subject", ", ".join(filter(None, (f"{s.token} {s.noun}".strip() for s in record.subject.all))) or "none"],
        ["prompt", record.prompt],
        ["method", record.method],
        ["base", f"{record.base.name} ({record.base.hash[:19]})"],
        *([["started from", record.data["start_from"]["name"]]] if "start_from" in record.data else []),
        ["photos", str(len(record.photos))],
        ["seed", str(record.seed)],
        ["steps", str(record.steps)],
        ["loss", "none" if record.final_loss is None else f"{record.final_loss:.4f} (mean of the last tenth)"],
        ["time", f"{record.seconds:.0f} s, {record.seconds_per_step:.2f} s a step, on {record.device}"],
        ["memory", f"{size(record.peak_memory_bytes)} at most"],
        ["created", record.created],
        *([f"{stage.name}: {key}", str(value)] for stage in record.stages for key, value in stage.settings.items()),
        *([name, size(count)] for name, count in record.sizes.items()),
        ["files", "all match their hashes"],
    ]
    finish(record.model_dump(mode="json") | {"verified": True}, table(rows), as_json)

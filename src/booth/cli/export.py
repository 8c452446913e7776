"""booth export: a concept as a file that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson
from booth.cli.output import finish, say, table
from booth.registry import EXPORTERS, FAMILIES

RANK = 16  # of an extracted LoRA
EXTRACTS = ("extracted", "bundle")  # formats that may hold one


def export(
    concept: Annotated[Path | None, typer.Argument(help="Folder of a concept.", metavar="CONCEPT")] = None,
    to: Annotated[str | None, typer.Option(help=f"{', '.join(EXPORTERS)}.", metavar="FORMAT")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write.", metavar="FILE", show_default="exports/NAME-FORMAT; an embedding's is exports/TOKEN"
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or bf16.", metavar="TYPE")] = "fp32",
    rank: Annotated[
        int | None,
        typer.Option(help="Rank of a LoRA extracted from whole weights (extracted, bundle).", min=1, show_default="16"),
    ] = None,
    lossy: Annotated[bool, typer.Option("--lossy", help="Write it even where the format cannot hold all.")] = False,
    metadata: Annotated[
        str, typer.Option(help="plain, or full with captions, paths and settings.", metavar="HOW_MUCH")
    ] = "plain",
    picture: Annotated[
        bool | None,
        typer.Option(
            "--picture/--no-picture",
            help="Draw with the concept and with the file, and compare; not for a hypernetwork.",
            show_default="on the embedded base",
        ),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show the formats and who reads them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write CONCEPT as FORMAT, read it back by the rules of the programs that use it, and print its file."""
    if listed:
        _show_formats(as_json)
        return
    from booth.concept import Concept
    from booth.core.errors import UsageError
    from booth.export.run import export as write
    from booth.families.quiet import hush

    if concept is None or to is None:
        raise UsageError(
            f"Name a concept's folder and a format: --to {', '.join(EXPORTERS)}.",
            code="export.nothing_named",
            field="to",
        )
    hush()
    _refuse_idle(to, rank, picture)
    done = write(
        Concept.load(concept),
        to,
        out,
        precision=precision,
        rank=RANK if rank is None else rank,
        lossy=lossy,
        metadata=metadata,
        picture=picture,
    )
    for loss in done.lost:
        say(f"warning: left out {loss}")
    say(
        f"Read back by {done.check.reader}: {done.check.matched} tensors match {done.check.against}; the largest "
        f"relative difference is {done.check.difference:.1e}."
    )
    say(f"Read by {', '.join(done.programs)}.")
    for program, why in done.not_by.items():
        say(f"note: not by {program}, which {why}.")
    if done.check.picture is not None:
        say(f"A picture by the file differs from one by the concept by at most {done.check.picture} of 255 in a pixel.")
    elif picture:
        say("warning: no picture was compared: no pipeline of diffusers draws with what this file holds.")
    finish(done.to_json(), [str(done.file)], as_json)


def _refuse_idle(to: str, rank: int | None, picture: bool | None) -> None:
    """UsageError for an option that would do nothing with this format."""
    from booth.core.errors import UsageError
    from booth.export.exporter import Exporter

    exporter = EXPORTERS[to]
    if rank is not None and to not in EXTRACTS:
        raise UsageError(
            f"--rank is for {' and '.join(EXTRACTS)}; {to} keeps the ranks as trained.",
            "Leave it out.",
            code="rank.unfit",
            field="rank",
        )
    if picture and exporter.loaded is Exporter.loaded:
        raise UsageError(
            f"No pipeline of diffusers draws with a {exporter.title} file.",
            "Leave out --picture.",
            code="picture.no_pipeline",
            field="picture",
        )


def _show_formats(as_json: bool) -> None:
    from booth.export.exporter import TwoWay

    formats = [
        {
            "format": name,
            "title": EXPORTERS[name].title,
            "holds": sorted(EXPORTERS[name].accepts),
            "bases": list(EXPORTERS[name].families),
            "imported": issubclass(EXPORTERS[name], TwoWay),
            "read by": list(EXPORTERS[name].programs),
        }
        for name in EXPORTERS
    ]
    rows = [
        [
            f["format"],
            f["title"],
            ", ".join(f["holds"]),
            "all" if len(f["bases"]) == len(FAMILIES) else ", ".join(f["bases"]),
            "yes" if f["imported"] else "no",
            ", ".join(f["read by"]),
        ]
        for f in formats
    ]
    heads = ["format", "what", "holds", "bases", "imported", "read by"]
    finish({"formats": formats}, table([heads, *rows]), as_json)

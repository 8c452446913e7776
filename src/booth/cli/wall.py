"""booth wall: which checkpoint of a run is best, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson
from booth.cli.output import finish, say, table
from booth.registry import ENCODERS


def wall(
    concept: Annotated[Path, typer.Argument(help="Folder of a concept that was trained with previews.")],
    keep: Annotated[
        int | None, typer.Option(help="Make a concept of the checkpoint after so many steps.", metavar="STEP", min=1)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the wall or, with --keep, of the concept.",
            metavar="DIR",
            show_default="walls/NAME, or CONCEPT-step-STEP",
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What sees likeness and reads prompts: {', '.join(ENCODERS)}; may be repeated.", metavar="NAME"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a run's checkpoints with the untouched base at the same prompts and seeds; say which is best and why."""
    from booth.concept import Concept
    from booth.evaluate.wall import FILE, in_words
    from booth.evaluate.wall import keep as make
    from booth.evaluate.wall import wall as measure
    from booth.families.quiet import hush

    hush()
    taught = Concept.load(concept)
    if keep is not None:
        made = make(taught, keep, out or concept.with_name(f"{concept.name}-step-{keep}"))
        finish({"concept": str(made.folder), "step": keep}, [str(made.folder)], as_json)
        return
    place = out or Path("walls") / taught.record.name
    told = measure(taught, place, say, encoder or ())
    say(in_words(told["reason"]))
    rows = [["step", "gain over the base", "95 %", "prompt kept"]]
    for row in told["rows"][1:]:
        gain = row["gain"]
        rows.append(
            [
                str(row["step"]),
                f"{gain['mean']:+.3f}",
                f"[{gain['low']:+.3f}, {gain['high']:+.3f}]",
                f"{row['followed']:.0%}",
            ]
        )
    finish(told | {"wall": str(place / FILE)}, table(rows), as_json)

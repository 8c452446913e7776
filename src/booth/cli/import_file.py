"""booth import: another trainer's file as a concept."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson, Base
from booth.cli.output import finish, say
from booth.registry import CONTROLS


def import_file(
    file: Annotated[
        Path, typer.Argument(help="LoRA, embedding, hypernetwork, ControlNet or checkpoint.", metavar="FILE")
    ],
    noun: Annotated[
        str | None,
        typer.Option(
            "--class", help="Class noun of the subject.", metavar="NOUN", show_default="from the file's header"
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Word that names the subject.", metavar="TOKEN", show_default="from the file's header"),
    ] = None,
    base: Base = "embedded",
    control: Annotated[
        str | None,
        typer.Option(
            "--control-type",
            help=f"What a ControlNet follows: {', '.join(CONTROLS)}, or any word.",
            metavar="TYPE",
            show_default="from the file's header or name",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the concept.", metavar="DIR", show_default="concepts/TOKEN-NOUN-FILE"),
    ] = None,
    pickles: Annotated[
        bool, typer.Option("--allow-pickle", help="Read a .pt or .ckpt, in a process of its own that runs none of it.")
    ] = False,
    lossy: Annotated[bool, typer.Option("--lossy", help="Leave out what booth cannot hold.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a concept of FILE, which can be drawn, evaluated and raced as if it had been trained here."""
    from booth.families.quiet import hush
    from booth.importing.run import import_file as read

    hush()
    concept = read(
        file, base=base or "embedded", noun=noun, token=token, control=control, out=out, pickles=pickles, lossy=lossy
    )
    imported = concept.record.data["imported"]
    for note in imported.get("notes", []):
        say(f"note: {note}.")
    for loss in imported.get("left_out", []):
        say(f"warning: left out {loss}.")
    if concept.record.method == "controlnet":
        prompt, hint = "a photo", ["--control", "FILE", "--control-type", str(concept.record.settings["control"])]
    else:
        prompt, hint = concept.record.prompt, []
    say(f"Draw with it:\n  {shlex.join(['booth', 'generate', str(concept.folder), prompt, *hint])}")
    told = {"concept": str(concept.folder), "method": concept.record.method, **imported}
    finish(told, [str(concept.folder)], as_json)

"""booth hint: make hints for a ControlNet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson
from booth.cli.output import finish
from booth.registry import CONTROLS


def hint(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures whose layout is to be followed.")],
    kind: Annotated[str, typer.Option("--type", help=f"{', '.join(CONTROLS)}.", metavar="TYPE")] = "canny",
    size: Annotated[
        int | None,
        typer.Option(help="Side in pixels of the central square; the whole picture if left out.", min=8, metavar="N"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the hints.", metavar="DIR")] = Path("hints"),
    as_json: AsJson = False,
) -> None:
    """Make a hint from each picture, to draw with `booth generate --control`; print their files."""
    from booth.data.control_images import make_control_images

    files = make_control_images(pictures, kind, out, size)
    finish({"type": kind, "hints": [str(file) for file in files]}, [str(file) for file in files], as_json)

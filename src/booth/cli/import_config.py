"""booth import-config: another trainer's configuration as a run.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson
from booth.cli.output import finish, say


def import_config(
    file: Annotated[
        Path,
        typer.Argument(
            help="TOML or GUI's JSON of sd-scripts, or a file with a command of it or of a diffusers script.",
            metavar="FILE",
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to write.", metavar="FILE")] = Path("run.toml"),
    as_json: AsJson = False,
) -> None:
    """Convert FILE for `booth train --config`, and list every option that has no equivalent."""
    from booth.config.loading import load_run_config
    from booth.core.commit import committed_file
    from booth.core.errors import BadDataError, UsageError
    from booth.core.reading import read_text
    from booth.foreign_configs.convert import convert
    from booth.registry import METHODS

    if out.exists():
        raise UsageError(
            f"{out} is there already.",
            "Name another file with --out, or delete it first.",
            code="out.taken",
            field="out",
        )
    try:
        text = read_text(file)
    except BadDataError as error:
        raise error.about(str(file), "Give a TOML of sd-scripts or a command.", field="file") from error
    done = convert(text, str(file))
    with committed_file(out) as place:
        place.write_text(done.to_toml(), encoding="utf-8")
        wanted = {"photos", "class"} if METHODS[done.run["method"]].needs_subject else {"photos"}
        missing = wanted - done.run.keys()
        # What the file does not say is asked for when it is used; what it says must make sense now.
        load_run_config(place, {"photos": ["photos"] if "photos" in missing else None,
                                "noun": "subject" if "class" in missing else None})  # fmt: skip
    for note in done.notes:
        say(note)
    for name, value in done.left.items():
        say(f"no equivalent: {name} = {value}")
    if missing:
        say(f"Not in the file, so give them to `booth train`: {', '.join(sorted(missing))}.")
    result = {"file": str(out), "method": done.run["method"], "left": {k: str(v) for k, v in done.left.items()}}
    finish(result | {"notes": done.notes, "missing": sorted(missing)}, [str(out)], as_json)

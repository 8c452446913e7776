"""booth reteach: a concept's subject, taught to another base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson, Device
from booth.cli.output import Progress, finish, say
from booth.cli.plan import in_words


def reteach(
    concept: Annotated[Path, typer.Argument(help="Folder of the concept.")],
    base: Annotated[
        str, typer.Option(help="The other base: a diffusers folder, a checkpoint or a Hub id.", metavar="BASE")
    ],
    photos: Annotated[
        list[Path] | None,
        typer.Option(help="Photos instead of those that it was taught from; may be repeated.", metavar="PATH"),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, such as rank=8; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the new concept.", metavar="DIR", show_default="concepts/NAME-FAMILY")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be translated and the plan; write nothing.")
    ] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Teach a concept's subject to another base from the same photos, and tell which settings were translated."""
    from booth.config.assignments import parse_assignment
    from booth.config.loading import load_run_config
    from booth.core.concept import read_record
    from booth.families.quiet import hush
    from booth.train.folders import refuse_to_overwrite
    from booth.train.reteach import translate

    hush()
    record = read_record(concept)
    translation = translate(record, base, photos or [], out)
    own = translation.run
    given = {name: getattr(own, name) for name in own.model_fields_set}
    given["settings"] = own.settings | dict(map(parse_assignment, assignments or []))
    run = load_run_config(None, given | {"device": device})
    if not dry_run:
        refuse_to_overwrite(run.folder.absolute(), False)
    for sentence in translation.told:
        say(sentence)
    if dry_run:
        from booth.train.dry_run import describe

        plan = describe(run)
        finish(plan | {"translated": translation.told}, in_words(plan), as_json)
        return

    from booth.train.run import TrainResult
    from booth.train.run import train as learn

    progress = Progress()
    try:
        taught = learn(run, listeners=[progress])
    finally:
        progress.close()
    result = TrainResult.of(taught)
    finish(result.to_json() | {"translated": translation.told}, [result.concept], as_json)

"""booth fleet: many subjects on many workers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.default_verb import DefaultVerb
from booth.cli.guard import guarded
from booth.cli.options import AsJson, Base, Device
from booth.cli.output import finish, say
from booth.registry import METHODS


class RunByDefault(DefaultVerb):
    """`booth fleet MANIFEST` is `booth fleet run MANIFEST`."""

    default = "run"


fleet = typer.Typer(
    cls=RunByDefault,
    help="Teach many subjects on many workers; what is done is never done again. "
    "`booth fleet MANIFEST` is `booth fleet run MANIFEST`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Out = Annotated[str, typer.Option("--out", help="Folder, s3:// or gs:// of all that is kept.", metavar="PLACE")]


def run(
    manifest: Annotated[
        Path, typer.Argument(help="A CSV with photos, class, token and any setting by column; or a folder of folders.")
    ],
    out: Out,
    workers: Annotated[
        str, typer.Option(help="How many processes, or ray, or ray:N; 1 is this process.", metavar="N")
    ] = "1",
    noun: Annotated[
        str | None, typer.Option("--class", help="Class noun of those whose line names none.", metavar="NOUN")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help=f"{', '.join(METHODS)}.", metavar="METHOD", show_default="lora")
    ] = None,
    base: Base = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings of all in a TOML file; a line's win.", metavar="FILE")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of all, such as rank=8; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    threads: Annotated[int, typer.Option(help="Of each worker; they decide the last bits.", min=1, metavar="N")] = 1,
    gpus: Annotated[float, typer.Option(help="Share of a GPU that a Ray worker takes.", min=0)] = 0,
    together: Annotated[
        int,
        typer.Option(
            help="Runs of one shape that a worker teaches in one pass: faster, and other last bits.", min=1, metavar="K"
        ),
    ] = 1,
    no_evaluation: Annotated[bool, typer.Option("--no-evaluation", help="Draw and measure nothing.")] = False,
    hot_swap: Annotated[
        bool, typer.Option("--hot-swap", help="Refuse adapters that could not take each other's place.")
    ] = False,
    failures: Annotated[int, typer.Option(help="Tries of a run that fails.", min=1)] = 3,
    preemptions: Annotated[int, typer.Option(help="How often a run may be stopped or lost.", min=0)] = 20,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what was given up.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what there is to do; write nothing.")] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Teach every subject of MANIFEST and measure each; print the report's file.

    The same command goes on where it was killed. A subject that fails does so alone; the exit code is 1 then.
    """
    from booth.fleet.manifest import read_manifest

    given = {"noun": noun, "method": method, "base": base}
    entries = read_manifest(manifest, config, given, assignments or [])

    from booth.executor.workers import make_executor
    from booth.families.quiet import hush
    from booth.fleet.driver import Fleet, planned, run_fleet
    from booth.fleet.place import open_place

    hush()
    place = open_place(out)
    if dry_run:
        plan = planned(entries, place, threads)
        finish(plan, [f"{key.replace('_', ' ')}: {value}" for key, value in plan.items()], as_json)
        return
    asked = Fleet(threads, device, not no_evaluation, hot_swap, failures, preemptions, retry, together)
    with make_executor(workers, threads, gpus) as executor:
        summary = run_fleet(entries, asked, place, executor, say)
    report = f"{place.url}/report.html"
    finish(summary.to_json() | {"report": report}, [report], as_json)
    if summary.failed:
        raise typer.Exit(1)


def delete(
    subject: Annotated[str, typer.Argument(help="As the manifest names it.")], out: Out, as_json: AsJson = False
) -> None:
    """Remove everything of one SUBJECT, here and in PLACE; print what was removed, and that nothing is left."""
    from booth.fleet.place import open_place
    from booth.fleet.removal import delete_subject

    told = delete_subject(open_place(out), subject)
    say(f"{len(told['removed'])} files of {subject} are removed; {len(told['left'])} are left.")
    finish(told, told["removed"], as_json)


fleet.command()(guarded(run))
fleet.command()(guarded(delete))

"""booth train: teach a subject."""

from __future__ import annotations

import gc
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from booth.cli.options import AsJson, Base, Device, Kind, Precision
from booth.cli.output import Progress, finish, say
from booth.cli.plan import in_words
from booth.cli.workers import spread_over
from booth.core.errors import BadDataError, Problems
from booth.core.words import size
from booth.registry import METHODS

if TYPE_CHECKING:
    from booth.concept import Concept
    from booth.config import RunConfig


def train(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Photos of one subject, folders of them, or tar shards of many.")
    ] = None,
    noun: Annotated[
        str | None, typer.Option("--class", help="Class noun of the subject, such as dog.", metavar="NOUN")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="subject, or style, which needs no --class.", metavar="KIND", show_default="subject"),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="Another subject of the same run: its photos, token and class noun; may be repeated.",
            metavar='"DIR=TOKEN NOUN"',
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help=f"{', '.join(METHODS)}.", metavar="METHOD", show_default="lora")
    ] = None,
    base: Base = None,
    family: Kind = None,
    token: Annotated[
        str | None,
        typer.Option(help="Rare word that will name the subject; auto picks one.", metavar="TOKEN", show_default="sks"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; each method has its default.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Decides all randomness.", min=0, show_default="0")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the concept.", metavar="DIR", show_default="concepts/TOKEN-NOUN-METHOD"),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings in a TOML file; options win.", metavar="FILE")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, such as rank=8; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(
            help="Start from the weights of a concept, of another trainer's .safetensors file or of a ControlNet's "
            "folder, in as many new steps.",
            metavar="CONCEPT",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the last checkpoint or, with more --steps, from a finished run."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, the settings and what was found; write nothing.")
    ] = False,
    crop: Annotated[
        str | None,
        typer.Option(
            help="Square of a photo: center, random or subject; or buckets, which keep nearly all of it.",
            metavar="CROP",
            show_default="center",
        ),
    ] = None,
    flip: Annotated[bool | None, typer.Option("--flip", help="Show photos mirrored too.")] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between checkpoints; 0 saves only when stopped.", min=0, metavar="N")
    ] = None,
    preview_every: Annotated[
        int | None, typer.Option(help="Draw the subject every N steps; 0 is never.", min=0, metavar="N")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="steps, or done: stop when nothing more is gained and keep the best checkpoint.", metavar="WHEN"
        ),
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="First choose steps and learning rate, leaving out one photo after another.")
    ] = False,
    workers: Annotated[
        str,
        typer.Option(help="Of --tune: how many processes, or ray, or ray:N; 1 is this process.", metavar="N"),
    ] = "1",
    no_samples: Annotated[bool, typer.Option("--no-samples", help="Draw nothing at the end.")] = False,
    device: Device = None,
    precision: Precision = None,
    as_json: AsJson = False,
) -> None:
    """Teach the subject in PHOTOS to a base; print the folder of the concept."""
    from booth.config.loading import load_run_config

    wrong = _told_at_once(photos or [], out, resume)
    overrides = {
        "photos": photos or None,
        "noun": noun,
        "kind": kind,
        "also": also or None,
        "method": method,
        "base": base,
        "family": family,
        "token": token,
        "seed": seed,
        "out": out,
        "start_from": start_from,
        "resume": resume or None,
        "crop": crop,
        "flip": flip,
        "checkpoint_every": checkpoint_every,
        "previews": preview_every,
        "until": until,
        "device": device,
        "precision": precision,
        "settings": {} if steps is None else {"steps": steps},
    }
    run = None
    with wrong.noted():
        run = load_run_config(config, overrides, assignments or [])
    wrong.tell()
    assert run is not None

    from booth.families.quiet import hush

    hush()
    if dry_run:
        from booth.train.dry_run import describe

        plan = describe(run)
        finish(plan, in_words(plan), as_json)
        return
    if tune:
        from booth.compare.tune import tune as choose

        with spread_over(workers, None) as executor:
            run = run.model_copy(update={"settings": run.settings | choose(run, say, executor=executor).settings})

    from booth.train.distributed import follows
    from booth.train.run import train as learn

    gc.freeze()  # what is imported stays: the collection before a training need not look through it
    progress = Progress()
    try:
        concept = learn(run, listeners=[progress], samples=not no_samples)
    finally:
        progress.close()
    if not follows():  # the first process of the run tells
        _tell(concept, run, as_json)


def _tell(concept: Concept, run: RunConfig, as_json: bool) -> None:
    from booth.generate.controls import follows
    from booth.train.run import TrainResult

    result = TrainResult.of(concept)
    say(f"Taught in {result.seconds:.0f} s, {result.steps} steps, {size(result.artifact_bytes)}. Draw it with:")
    prompt, scene = concept.record.prompt or "PROMPT", "" if run.kind == "style" or not run.noun else " on the beach"
    hint = ["--control", "HINT"] if follows(concept) else []
    say(f"  {shlex.join(['booth', 'generate', result.concept, prompt + scene, *hint])}")
    finish(result.to_json(), [result.concept], as_json)


def _told_at_once(photos: list[Path], out: Path | None, resume: bool) -> Problems:
    """What is wrong and can be told before anything heavy is loaded."""
    from booth.train.folders import refuse_to_overwrite

    wrong = Problems()
    for source in photos:
        if not os.path.lexists(source):
            wrong.append(
                BadDataError(f"{source} does not exist.", "Check the name.", code="photos.not_found", field="photos")
            )
    if out is not None:
        with wrong.noted():
            refuse_to_overwrite(out.absolute(), resume)
    return wrong

"""booth compare: the method race."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from booth.cli.options import AsJson, Base, Device
from booth.cli.output import Progress, finish, say
from booth.cli.workers import Threads, Workers, spread_over
from booth.registry import ENCODERS, METHODS

QUICK_STEPS = 60


def compare(
    photos: Annotated[list[Path] | None, typer.Argument(help="Photos of one subject, or folders of them.")] = None,
    noun: Annotated[
        str | None, typer.Option("--class", help="Class noun of the subject, such as dog.", metavar="NOUN")
    ] = None,
    kind: Annotated[
        Literal["subject", "style"], typer.Option(help="What is taught; a style needs no --class.")
    ] = "subject",
    method: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(METHODS)}; all if left out.", metavar="METHOD")
    ] = None,
    token: Annotated[str, typer.Option(help="Rare word that will name the subject.", metavar="TOKEN")] = "sks",
    base: Base = None,
    training_seeds: Annotated[int, typer.Option(help="Trainings of each method.", min=1, metavar="N")] = 2,
    steps: Annotated[int | None, typer.Option(help="The same number of steps for each.", min=1)] = None,
    seconds: Annotated[float | None, typer.Option(help="The same training time for each.", min=0)] = None,
    until: Annotated[str | None, typer.Option(help="done: each until it gains no more.", metavar="done")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="A method's setting, such as lora.rank=8.", metavar="METHOD.KEY=VALUE"),
    ] = None,
    held_out: Annotated[
        list[Path] | None, typer.Option(help="Other photos of the subject, to compare with.", metavar="PATH")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="File with one prompt a line, {} for the subject.", metavar="FILE")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Pictures a prompt.", min=1, show_default="4")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help=f"{QUICK_STEPS} steps, one training and a few prompts.")
    ] = False,
    encoder: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(ENCODERS)}; may be repeated.", metavar="NAME")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the race.", metavar="DIR")] = Path("race"),
    workers: Workers = "1",
    threads: Threads = None,
    report: Annotated[bool, typer.Option("--report", help="Make the page again from what is there.")] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Teach the subject by every method within one budget and compare them; print the page's file.

    The same command goes on with an interrupted race. What has a result is not run again.
    """
    from booth.compare.page import write_page
    from booth.compare.race import run_race
    from booth.families.quiet import hush

    hush()
    if not report:
        race = _race(
            photos, noun, kind, method, token, base, training_seeds, (steps, seconds, until), assignments, held_out,
            prompts, seeds, quick, encoder, out, device,
        )  # fmt: skip
        progress = Progress()
        try:
            with spread_over(workers, threads) as executor:
                run_race(race, listeners=[progress], executor=executor)
        finally:
            progress.close()
    page, told = write_page(out)
    for sentence in told["verdict"]:
        say(sentence)
    finish(told | {"report": str(page)}, [str(page)], as_json)


def _race(
    photos, noun, kind, method, token, base, training_seeds, budget, assignments, held_out, prompts, seeds, quick,
    encoder, out, device,
):  # fmt: skip
    """The options as a Race."""
    from booth.compare.budget import Budget
    from booth.compare.course import Race
    from booth.core.errors import UsageError
    from booth.evaluate.protocol import make_protocol
    from booth.train.setup import choose_device

    noun = noun or ("style" if kind == "style" else None)
    if not photos or not noun:
        raise UsageError(
            "Name the photos and their --class, such as `booth compare photos/ --class dog`.",
            code="photos.missing",
            field="photos",
        )
    steps, seconds, until = budget
    if until not in (None, "done"):
        raise UsageError(
            f"--until {until} makes no sense.",
            "Write --until done, or give --steps or --seconds.",
            code="until.unknown",
            field="until",
        )
    if sum(x is not None for x in budget) > 1:
        raise UsageError("Give one budget: --steps, --seconds or --until done.", code="budget.several", field="steps")
    if quick and not any(budget):
        steps = QUICK_STEPS
    given = None if seeds is None else range(seeds)
    return Race(
        photos=photos,
        noun=noun,
        out=out,
        protocol=make_protocol(noun, kind=kind, prompts=prompts, seeds=given, quick=quick),
        kind=kind,
        token=token,
        base=base or "embedded",
        methods=tuple(method or ()),
        seeds=tuple(range(1 if quick else training_seeds)),
        budget=Budget(steps, seconds, until == "done"),
        held_out=held_out or (),
        encoders=encoder or (),
        settings=_by_method(assignments or []),
        device=choose_device(device),
    )


def _by_method(assignments: list[str]) -> dict[str, dict[str, object]]:
    from booth.config.assignments import parse_assignment
    from booth.core.errors import UsageError

    found: dict[str, dict[str, object]] = {}
    for text in assignments:
        key, value = parse_assignment(text)
        method, dot, setting = key.partition(".")
        if ":" in key:  # package.module:Class.rank
            method, dot, setting = key.rpartition(".")
        if not dot or (method not in METHODS and ":" not in method):
            raise UsageError(
                f"{text!r} names no method.",
                "Write METHOD.KEY=VALUE, such as --set lora.rank=8.",
                code="setting.unnamed",
                field="assignments",
            )
        found.setdefault(method, {})[setting] = value
    return found

"""booth recommend: which method, which settings, and why."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from booth.cli.options import AsJson, Base
from booth.cli.output import finish
from booth.config import RunConfig
from booth.core.words import duration, size

if TYPE_CHECKING:
    from booth.compare.recommend import Recommendation


def recommend(
    photos: Annotated[list[Path], typer.Argument(help="Photos of one subject, or folders of them.")],
    noun: Annotated[str, typer.Option("--class", help="Class noun of the subject, such as dog.", metavar="NOUN")],
    kind: Annotated[Literal["object", "style", "person"], typer.Option(help="What is taught.")] = "object",
    concepts: Annotated[int, typer.Option(help="How many you will keep.", min=1)] = 1,
    detail: Annotated[Literal["low", "high"], typer.Option(help="How much likeness matters.")] = "high",
    settings: Annotated[
        Literal["plain", "complex"], typer.Option(help="How unlike the photos the pictures are to be.")
    ] = "complex",
    disk: Annotated[float | None, typer.Option(help="Megabytes for all concepts.", min=0, metavar="MB")] = None,
    memory: Annotated[float | None, typer.Option(help="Gigabytes for training.", min=0, metavar="GB")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time at hand for a training.", min=0)] = None,
    layout: Annotated[bool, typer.Option("--layout", help="A pose or layout must be followed.")] = False,
    base: Base = None,
    estimate: Annotated[bool, typer.Option("--quote/--no-quote", help="Make a few real steps to see the cost.")] = True,
    as_json: AsJson = False,
) -> None:
    """Look at the photos and your answers; print a command with the reasons for it and what it will cost here."""
    import torch

    from booth.compare.photo_facts import look_at
    from booth.compare.recommend import Answers, time_warning
    from booth.compare.recommend import recommend as choose
    from booth.data.photos import load_photos
    from booth.families.quiet import hush
    from booth.session import Session
    from booth.train.setup import choose_device
    from booth.train.trainer import Trainer

    hush()
    name = base or "embedded"
    room = {"disk_bytes": disk and disk * 1e6, "memory_bytes": memory and memory * 1e9}
    answers = Answers(kind, concepts, detail, settings, **room, minutes=minutes, layout=layout)
    loaded = load_photos(photos)
    facts = look_at(loaded)
    session = Session(name, choose_device(None))
    with session.model(torch.float32) as model:  # as it is trained
        held = sum(t.numel() * t.element_size() for m in model.components().values() for t in m.state_dict().values())
    found = choose(answers, facts, photos, noun, name, held)
    command = command_of(found)
    told = found.to_json() | {"command": command, "photos": facts.to_json(), "estimate": None}
    lines = [command, *(f"  because {sentence} ({source})" for sentence, source in found.reasons)]
    lines += [f"  not {method}: it {why}" for method, why in found.against.items()]
    warnings = list(found.warnings)
    if estimate:
        with Trainer(found.config, session=session, photos=[loaded], keep=False) as trainer:
            cost = trainer.estimate()
        told["estimate"] = cost.to_json()
        time = f"{duration(cost.seconds)} ± {cost.plus_minus:.0%}"
        lines.append(f"  here: {time}, {size(cost.peak_memory_bytes)} of memory, artefact {size(cost.artifact_bytes)}")
        warnings += [w for w in [time_warning(answers, cost.seconds)] if w]
    told["warnings"] = warnings
    finish(told, [*lines, *(f"  note: {warning}" for warning in warnings)], as_json)


def command_of(found: Recommendation) -> str:
    """The command that trains as recommended."""
    run = found.config
    words = ["booth", "train", *map(str, run.photos), "--class", run.noun, "--method", run.method]
    words += [] if run.base == "embedded" else ["--base", run.base]
    for key, value in found.options.items():
        words += [f"--{key}", value] if key in RunConfig.model_fields else ["--set", f"{key}={value}"]
    return shlex.join(words)

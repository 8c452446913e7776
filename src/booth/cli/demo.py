"""booth demo: the whole way in one command, on the bundled subject and the embedded base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson, Base, Device, Seed
from booth.cli.output import Progress, finish, say
from booth.registry import METHODS


def demo(
    method: Annotated[str, typer.Option(help=f"{', '.join(METHODS)}.", metavar="METHOD")] = "dreambooth",
    base: Base = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; the method's default if left out.", min=1)] = None,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder to write into.", metavar="DIR")] = Path("booth-demo"),
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Teach the bundled subject, draw it where it has never been beside the untouched base; print the contact sheet."""
    from booth.config.loading import load_run_config
    from booth.families.quiet import hush
    from booth.generate.concepts import Applied
    from booth.generate.showcase import showcase
    from booth.train.run import train
    from booth.train.setup import choose_device
    from booth.world.demo import NOUN, PROMPTS, photos

    hush()
    overrides = {
        "photos": [photos()],
        "noun": NOUN,
        "method": method,
        "base": base,
        "seed": seed,
        "out": out / method,
        "device": choose_device(device),
        "resume": out.exists(),
        "settings": {} if steps is None else {"steps": steps},
    }
    progress = Progress()
    try:
        concept = train(load_run_config(None, overrides), listeners=[progress])
    finally:
        progress.close()
    say("Drawing the subject in places where it has never been.")
    prompts = [prompt.format(token=concept.record.subject.token) for prompt in PROMPTS]
    drawn = showcase(Applied(concept), prompts, sorted(photos().glob("*.png")), out, device=choose_device(device))
    say(f"The concept is {concept.folder}. The contact sheet, base above and concept below:")
    result = {"concept": str(concept.folder), "seconds": round(concept.record.seconds + drawn.seconds, 1)}
    finish(result | {"sheet": str(drawn.sheet), "images": list(map(str, drawn.images))}, [str(drawn.sheet)], as_json)

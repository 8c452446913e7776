"""booth prompt-card: which strength, guidance and prompts work for a concept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson, Device, Seed
from booth.cli.output import Bar, finish


def prompt_card(
    concept: Annotated[Path, typer.Argument(help="Folder of a concept.", metavar="CONCEPT")],
    photos: Annotated[Path, typer.Option(help="Folder of photos of the subject, to compare with.", metavar="DIR")],
    steps: Annotated[int, typer.Option(help="Denoising steps a picture.", min=1)] = 20,
    seed: Seed = 0,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Draw CONCEPT at several strengths and guidance scales, and keep the best with three prompts in its folder."""
    from booth.concept import Concept
    from booth.data.photos import load_photos
    from booth.evaluate.prompt_judge import NAME, subject_and_prompt
    from booth.families.loading import base_hash, load_family, resolve_base
    from booth.families.quiet import hush
    from booth.generate.concepts import Applied, require_base
    from booth.generate.prompt_card import make_prompt_card, write_prompt_card
    from booth.train.setup import choose_device

    hush()
    loaded = Concept.load(concept)
    base = loaded.record.base.name
    require_base([Applied(loaded)], base, base_hash(resolve_base(base)))
    references = [photo.image for photo in load_photos([photos]).photos]
    judge = subject_and_prompt(references, loaded.record.subject.token)
    model = load_family(base, choose_device(device))
    bar: Bar | None = None

    def on_setting(done: int, total: int) -> None:
        nonlocal bar
        bar = bar or Bar(total, "setting")
        bar.to(done)

    try:
        card = make_prompt_card(model, loaded, judge, NAME, steps=steps, seed=seed, on_setting=on_setting)
    finally:
        if bar is not None:
            bar.close()
    file = write_prompt_card(concept, card)
    finish(card.model_dump(mode="json") | {"file": str(file)}, [str(file)], as_json)

"""booth generate: draw concepts, or the untouched base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson, Base, Device, Precision, Seed
from booth.cli.output import Progress, finish, say
from booth.registry import CONTROLS


def generate(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="A concept's folder and a prompt. A strength of 1 is as trained. Without a folder, name a --base.",
            metavar="[CONCEPT[:STRENGTH]] [PROMPT]",
        ),
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", help="Pictures a prompt.", min=1)] = 1,
    seed: Seed = 0,
    steps: Annotated[int, typer.Option(help="Denoising steps.", min=1)] = 30,
    guidance: Annotated[
        float | None,
        typer.Option(help="Classifier-free guidance scale; 1 is off.", show_default="what suits the base"),
    ] = None,
    negative: Annotated[str, typer.Option(help="Negative prompt.", metavar="PROMPT")] = "",
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="ddim, ddpm, dpm++, dpm++-sde, euler, euler-a, pndm or unipc; euler alone for flow matching.",
            metavar="NAME",
            show_default="what suits the base",
        ),
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--concept", help="Another concept, with its strength; may be repeated.", metavar="DIR[:STRENGTH]"
        ),
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Picture to start from.", metavar="IMAGE")] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            help="How much of the picture in --init is drawn anew: over 0, and at most 1, which forgets it.",
            show_default="0.8, and 1 with --mask",
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="What of the picture in --init is drawn anew: white is, black stays.", metavar="IMAGE"),
    ] = None,
    upscale: Annotated[
        int, typer.Option(help="Enlarge so many times, and draw the details at that size.", min=1, metavar="N")
    ] = 1,
    prompts: Annotated[Path | None, typer.Option(help="File with one prompt a line.", metavar="FILE")] = None,
    base: Base = None,
    size: Annotated[int | None, typer.Option(help="Side in pixels; the base's own if left out.", metavar="N")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch", help="Pictures at once.", min=1, metavar="N", show_default="1 on the CPU, else 4"),
    ] = None,
    controls: Annotated[
        list[str] | None,
        typer.Option("--control", help="Hint that a ControlNet follows; may be repeated.", metavar="FILE[:STRENGTH]"),
    ] = None,
    control_types: Annotated[
        list[str] | None,
        typer.Option("--control-type", help=f"What a hint is: {', '.join(CONTROLS)}.", metavar="TYPE"),
    ] = None,
    offload: Annotated[
        str,
        typer.Option(help="How parts take turns on a GPU too small for all: none, model or sequential.", metavar="HOW"),
    ] = "auto",
    sheet: Annotated[bool, typer.Option("--sheet", help="Write a contact sheet too.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.", metavar="DIR")] = Path("pictures"),
    device: Device = None,
    precision: Precision = None,
    as_json: AsJson = False,
) -> None:
    """Draw pictures of a concept, of several together, or of the untouched base; print their files."""
    from booth.core.places import require_writable
    from booth.generate.words import tell_apart

    tell_apart(words or [], more or [], prompts is not None, base)  # before anything heavy is loaded
    require_writable(out)

    from booth.families.quiet import hush
    from booth.generate.controls import parse_control_images
    from booth.generate.request import read_request
    from booth.generate.run import generate as draw
    from booth.generate.start import read_start
    from booth.train.setup import choose_device

    hush()
    start, told = read_start(init, strength, mask)
    request = read_request(
        words or [],
        more=more or [],
        prompt_file=prompts,
        base=base,
        count=count,
        seed=seed,
        steps=steps,
        guidance=guidance,
        negative=negative,
        scheduler=scheduler,
        size=size,
        control_images=parse_control_images(controls or [], control_types or []),
        batch_size=batch_size,
        start=start,
        upscale=upscale,
        device=choose_device(device),
        precision=precision,
        offload=offload,
    )
    for sentence in told:
        say(sentence)
    for warning in request.warnings():
        say(f"warning: {warning}")
    progress = Progress()
    try:
        drawn = draw(request, out, sheet=sheet, listeners=[progress])
    finally:
        progress.close()
    files = [*drawn.images, *([drawn.sheet] if drawn.sheet else [])]
    finish(drawn.to_json(), [str(file) for file in files], as_json)

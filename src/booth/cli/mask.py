"""booth mask: paint masks that say where the subject is in each photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from booth.cli.options import AsJson, Device
from booth.cli.output import Bar, finish, say, table

if TYPE_CHECKING:
    from booth.data.masks import Made


def mask(
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of them.")],
    noun: Annotated[str | None, typer.Option("--class", help="What to look for, such as dog.", metavar="NOUN")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Segmentation model: a folder or a Hub id in the local cache.", metavar="MODEL", show_default="CLIPSeg"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make masks anew that are there.")] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Write a mask beside each photo that has none, NAME-masklabel.png, to look at and to mend before training."""
    from booth.core.errors import UsageError
    from booth.data.masks import make_masks, require_names
    from booth.data.photos import load_photos
    from booth.families.quiet import hush
    from booth.families.segmentation import CLIPSEG, Segmenter
    from booth.train.setup import choose_device

    hush()
    found = load_photos(photos)
    require_names(found.photos)
    noun = noun or found.noun
    if not noun:
        raise UsageError(
            "Say what is to be found in the photos, such as `booth mask photos/ --class dog`.",
            code="noun.missing",
            field="noun",
        )
    segmenter = Segmenter(model or CLIPSEG, choose_device(device))
    made: list[Made] = []
    bar = Bar(len(found.photos), "photo")
    try:
        for one in make_masks(found.photos, noun, segmenter, overwrite=overwrite):
            made.append(one)
            bar.to(len(made))
    finally:
        bar.close()
    unseen = [one for one in made if one.mask is None]
    if unseen:
        say(
            f"No {noun} was seen in {len(unseen)} of {len(made)} photos, which have no mask: use other words with "
            "--class, or paint masks by hand."
        )
    say(f"{sum(one.written for one in made)} masks written. Look at them: white is the subject. Then train.")
    finish(
        {"model": segmenter.name, "class": noun, "masks": [_told(one) for one in made]},
        table([[str(one.photo), _how(one), str(one.mask or "")] for one in made]),
        as_json,
    )


def _told(one: Made) -> dict[str, object]:
    mask = str(one.mask) if one.mask else None
    return {"photo": str(one.photo), "mask": mask, "written": one.written, "share": one.share}


def _how(one: Made) -> str:
    if one.written:
        return f"written, {one.share:.0%} white"
    return "kept" if one.mask else "not seen"

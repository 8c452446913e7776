"""booth caption: write what each photo shows into a text file beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson, Device
from booth.cli.output import Bar, finish, say, table


def caption(
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of them.")],
    model: Annotated[
        str,
        typer.Option(help="Image-to-text model: a folder or a Hub id in the local cache.", metavar="MODEL"),
    ],
    prompt: Annotated[
        str | None, typer.Option(help="Beginning of the captions, or a question to a model that is talked to.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Caption photos anew that have a caption.")] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Write a caption beside each photo that has none, NAME.txt, and show all of them for editing."""
    from booth.data.captions import write_caption
    from booth.data.photos import load_photos
    from booth.families.image_to_text import Captioner
    from booth.families.quiet import hush
    from booth.train.setup import choose_device

    hush()
    found = load_photos(photos)
    wanted = [p for p in found.photos if p.caption is None or (overwrite and not p.listed)]
    captions = {p.path: p.caption for p in found.photos}
    if wanted:
        captioner = Captioner(model, choose_device(device))
        bar = Bar(len(wanted), "photo")
        try:
            for done, photo in enumerate(wanted, 1):
                captions[photo.path] = captioner(photo.image, prompt)
                write_caption(photo.path, captions[photo.path] or "")
                bar.to(done)
        finally:
            bar.close()
    written = {p.path for p in wanted}
    say(f"{len(written)} captions written, {len(captions) - len(written)} kept. Edit the .txt files, then train.")
    if listed := sum(p.listed for p in found.photos):
        say(f"{listed} stand in a list such as metadata.jsonl: edit them there.")
    rows = [[str(path), "written" if path in written else "kept", text or ""] for path, text in captions.items()]
    told = [{"photo": photo, "written": how == "written", "caption": text} for photo, how, text in rows]
    finish({"model": model, "captions": told}, table(rows), as_json)

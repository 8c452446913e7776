"""A folder of captioned pictures of the world, as any trainer reads them."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from booth.core.errors import UsageError
from booth.core.places import free_file, require_empty
from booth.generate.sheet import contact_sheet
from booth.world.sampling import SPLITS, render_many

ACROSS = 6  # pictures a row of the contact sheet
SHOWN = 48


def write_gallery(out: Path, count: int, seed: int, split: str) -> tuple[list[Path], Path]:
    """Write `count` PNGs with their captions in metadata.jsonl; a contact sheet of 48 goes beside the folder."""
    if split not in SPLITS:
        raise UsageError(
            f"There is no split called {split!r}.",
            f"There are: {', '.join(SPLITS)}.",
            code="split.unknown",
            field="split",
        )
    require_empty(out)
    pictures, captions, _ = render_many(count, seed=seed, split=split)
    images = [Image.fromarray(picture) for picture in pictures]
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"{i:05d}.png" for i in range(count)]
    for file, image in zip(files, images, strict=True):
        image.save(file)
    lines = [json.dumps({"file_name": f.name, "text": c}) for f, c in zip(files, captions, strict=True)]
    (out / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shown = images[:SHOWN]
    rows = [shown[i : i + ACROSS] for i in range(0, len(shown), ACROSS)]
    sheet = free_file(out.with_name(f"{out.name}-sheet.jpg"))
    contact_sheet(rows, [""] * len(rows)).save(sheet, quality=92)
    return files, sheet

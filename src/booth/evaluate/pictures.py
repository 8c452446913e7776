"""Pictures that are drawn once: kept as PNGs with their hashes, found again by what they were drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from booth.core.commit import committed, verify
from booth.core.errors import BoothError
from booth.data.decoding import decode, read_bytes
from booth.evaluate.protocol import Protocol
from booth.events import current_reporter
from booth.generate.draw import draw

TOGETHER = 8  # pictures that a tiny base draws at once; always the same ones, so that they are the same every time


def kept(
    folder: Path, about: Mapping[str, Any], model: Any, rows: Sequence[tuple[str, int]], protocol: Protocol
) -> list[Image.Image]:
    """The pictures of (prompt, seed) `rows`, from `folder` where they were drawn from the same, or drawn and kept."""
    at_once = TOGETHER if model.scale == "tiny" else None
    known = {
        **about,
        "batch_size": at_once,
        "rows": [list(row) for row in rows],
        "steps": protocol.steps,
        "guidance": protocol.guidance,
    }
    reporter = current_reporter()
    before = reporter.done  # of the phase, of which these pictures are a part
    found = _read(folder, known, len(rows))
    if found is not None:
        reporter.progress(before + len(found))
        return found
    prompts, seeds = [p for p, _ in rows], [s for _, s in rows]
    how = {"steps": protocol.steps, "guidance": protocol.guidance, "scheduler": protocol.scheduler}
    how |= {"batch_size": at_once, "on_picture": lambda done: reporter.progress(before + done)}
    images = [image.convert("RGB") for image in draw(model, prompts, seeds, **how)] if rows else []
    with committed(folder, {"kind": "pictures", "drawn_from": known}) as work:
        for i, image in enumerate(images):
            image.save(work / f"{i:05}.png")
    return images


def _read(folder: Path, known: Mapping[str, Any], count: int) -> list[Image.Image] | None:
    """What is there, if it is whole and was drawn from the same."""
    try:
        if verify(folder).get("drawn_from") != known:
            return None
        return [decode(read_bytes(folder / f"{i:05}.png")) for i in range(count)]
    except BoothError:
        return None

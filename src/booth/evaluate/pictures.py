"""Pictures that are drawn once: kept as PNGs with their hashes, found again by what they were drawn from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from booth.core.alone import alone_at
from booth.core.cache import bound, cache_folder
from booth.core.commit import committed, verify
from booth.core.errors import BoothError
from booth.core.family import Family
from booth.data.decoding import decode, read_bytes
from booth.evaluate.protocol import Protocol
from booth.events import current_reporter
from booth.generate.draw import draw

UNTOUCHED = "untouched"  # in the user's cache folder
MOST_BYTES = 2_000_000_000  # of what is kept there
TOGETHER = 8  # pictures that a tiny base draws at once; always the same ones, so that they are the same every time


def kept(
    folder: Path, about: Mapping[str, object], model: Family, rows: Sequence[tuple[str, int]], protocol: Protocol
) -> list[Image.Image]:
    """The pictures of (prompt, seed) `rows`, from `folder` where they were drawn from the same, or drawn and kept."""
    known = _known(about, model, rows, protocol)
    with alone_at(folder):
        found = _read(folder, known, len(rows))
        return _drawn(folder, known, model, rows, protocol) if found is None else found


def kept_for_all(
    folder: Path, about: Mapping[str, object], model: Family, rows: Sequence[tuple[str, int]], protocol: Protocol
) -> list[Image.Image]:
    """The same of a bare base: what any run on this machine has drawn of it is found again in the user's cache."""
    known = _known(about, model, rows, protocol)
    place = next(iter(model.components().values())).parameters().__next__()
    here = [str(place.device), str(place.dtype), torch.__version__, torch.get_num_threads(), model.resolution]
    key = hashlib.sha256(json.dumps([known, *here], sort_keys=True).encode()).hexdigest()[:24]
    home = cache_folder() / UNTOUCHED / key
    with alone_at(folder):
        found = _read(folder, known, len(rows))
        if found is not None:
            return found
        try:
            images = kept(home, about, model, rows, protocol)
            os.utime(home)  # so that what is used stays longest
            bound(home.parent, MOST_BYTES, keep=home)
        except OSError:  # a cache that cannot be written
            return _drawn(folder, known, model, rows, protocol)
        return _write(folder, known, images)


def _known(
    about: Mapping[str, Any], model: Family, rows: Sequence[tuple[str, int]], protocol: Protocol
) -> dict[str, Any]:
    """What pictures are drawn from."""
    return {
        **about,
        "batch_size": _at_once(model),
        "rows": [list(row) for row in rows],
        "steps": protocol.steps,
        "guidance": protocol.guidance,
        "scheduler": protocol.scheduler or model.sampler,
    }


def _at_once(model: Family) -> int | None:
    return TOGETHER if model.scale == "tiny" else None


def _drawn(
    folder: Path, known: Mapping[str, Any], model: Family, rows: Sequence[tuple[str, int]], protocol: Protocol
) -> list[Image.Image]:
    reporter = current_reporter()
    before = reporter.done  # of the phase, of which these pictures are a part
    prompts, seeds = [p for p, _ in rows], [s for _, s in rows]
    how = {"steps": protocol.steps, "guidance": protocol.guidance, "scheduler": protocol.scheduler}
    how |= {"batch_size": _at_once(model), "on_picture": lambda done: reporter.progress(before + done)}
    return _write(folder, known, [i.convert("RGB") for i in draw(model, prompts, seeds, **how)] if rows else [])


def _write(folder: Path, known: Mapping[str, Any], images: list[Image.Image]) -> list[Image.Image]:
    with committed(folder, {"kind": "pictures", "drawn_from": known}) as work:
        for i, image in enumerate(images):
            image.save(work / f"{i:05}.png")
    return images


def _read(folder: Path, known: Mapping[str, Any], count: int) -> list[Image.Image] | None:
    """What is there, if it is whole and was drawn from the same."""
    try:
        if verify(folder).get("drawn_from") != known:
            return None
        found = [decode(read_bytes(folder / f"{i:05}.png")) for i in range(count)]
    except BoothError:
        return None
    reporter = current_reporter()
    reporter.progress(reporter.done + len(found))
    return found

"""Class pictures for prior preservation: drawn from the frozen base, kept losslessly, used again by later runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from booth.core.alone import alone_at
from booth.core.commit import committed, sweep, verify
from booth.core.errors import BoothError
from booth.core.family import Family
from booth.core.rng import derived_seed
from booth.data.decoding import decode, read_bytes

BATCH = 4  # pictures drawn together, always: the numbers of one may depend on its company in the last bit


def class_prompt(noun: str, kind: str = "subject") -> str:
    """What the base is asked for, and what the class rows are learned with: "a photo of a dog"; any, for a style."""
    if kind == "style":
        return "a picture"
    return f"a photo of {'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def class_pictures(
    model: Family,
    noun: str,
    count: int,
    seed: int,
    cache: Path,
    base_id: str,
    draw: Callable[..., list[Image.Image]],
    *,
    guidance: float,
    steps: int = 30,
    kind: str = "subject",
    side: int | None = None,
) -> list[Image.Image]:
    """`count` pictures of the class as `model` draws it now, before any method is attached.

    Picture i depends on the base and its sampler, noun, seed, steps, guidance, side and i, never on `count`. `side`, in
    pixels, is given where it is not the base's own. Each batch is kept under `cache` as PNGs with their hashes, by the
    commit protocol: what a killed run has drawn is kept, what is damaged is drawn again. `draw` is called as
    draw(model, prompts, seeds, steps=, guidance=, batch_size=).
    """
    prompt = class_prompt(noun, kind)
    about: dict[str, str | int | float] = {"base": base_id, "prompt": prompt, "seed": seed, "steps": steps}
    about |= {"guidance": guidance, "sampler": model.sampler, "batch": BATCH}
    if side is not None:
        about["side"] = side
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    name = "".join(c if c.isalnum() else "-" for c in noun[:40])
    home = cache / f"{name}-{key}"
    sweep(home)
    pictures: list[Image.Image] = []
    for first in range(0, count, BATCH):
        folder = home / f"{first:05}"
        with alone_at(folder):
            batch = _cached(folder)
            if batch is None:
                if any(model.trainable_in(component) for component in model.components()):
                    raise ValueError("class pictures are drawn from the frozen base, before a method is attached")
                seeds = [derived_seed(seed, "class picture", i) for i in range(first, first + BATCH)]
                drawn = draw(model, [prompt] * BATCH, seeds, steps=steps, guidance=guidance, batch_size=BATCH)
                batch = [image.convert("RGB") for image in drawn]
                _keep(batch, folder, about)
        pictures += batch
    return pictures[:count]


def _cached(folder: Path) -> list[Image.Image] | None:
    """A whole, undamaged batch, or None."""
    try:
        verify(folder)
        return [decode(read_bytes(folder / f"{i}.png")) for i in range(BATCH)]
    except BoothError:
        return None


def _keep(batch: list[Image.Image], folder: Path, about: dict[str, str | int | float]) -> None:
    try:
        with committed(folder, about) as work:
            for i, image in enumerate(batch):
                image.save(work / f"{i}.png")
    except OSError as error:
        raise BoothError(
            f"Class pictures cannot be kept in {folder}: {error}.", "Make it writable.", code="cache.not_writable"
        ) from error

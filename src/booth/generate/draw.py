"""From prompts and seeds to pictures, through the diffusers pipeline over the very modules that were trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL.Image import Image

from booth.core.errors import UsageError
from booth.core.family import Family

STEPS = 30


def draw(
    model: Family,
    prompts: list[str],
    seeds: list[int],
    *,
    steps: int = STEPS,
    guidance: float | None = None,
    negative: str = "",
    scheduler: str | None = None,
    size: int | None = None,
    batch_size: int | None = None,
    on_picture: Callable[[int], None] | None = None,
) -> list[Image]:
    """Draw picture i from prompt i and seed i, with one CPU generator a picture.

    `guidance` and `scheduler` are the family's own where they are None. By default pictures are drawn one at a time on
    the CPU, so that the bytes of each depend on its own prompt and seed alone, and four at once on another device. With
    a larger `batch_size` the last bit of a value may depend on the batch. `on_picture` hears how many are finished.
    """
    _check(model, prompts, seeds, steps, size)
    side = size or model.resolution
    pipe: Any = model.pipeline(scheduler)
    at_once = batch_size or (1 if pipe.device.type == "cpu" else 4)
    images: list[Image] = []
    for start in range(0, len(prompts), at_once):
        rows = slice(start, start + at_once)
        drawn = pipe(
            prompt=prompts[rows],
            height=side,
            width=side,
            num_inference_steps=steps,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[rows]],
            **model.guided(model.guidance if guidance is None else guidance, negative, len(prompts[rows])),
        )
        images += drawn.images
        if on_picture is not None:
            on_picture(len(images))
    return images


def _check(model: Family, prompts: list[str], seeds: list[int], steps: int, size: int | None) -> None:
    if len(prompts) != len(seeds):
        raise UsageError(f"{len(prompts)} prompts and {len(seeds)} seeds: give one seed a picture.")
    if steps < 1:
        raise UsageError(f"{steps} steps draw nothing. Use at least 1; 30 is usual.")
    if size is not None and (size < model.multiple or size % model.multiple):
        raise UsageError(
            f"A picture of {size} pixels cannot be drawn. Use a multiple of {model.multiple}, such as 512."
        )

"""From prompts and seeds to pictures, through the diffusers pipeline over the very modules that were trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
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
    hints: Sequence[Sequence[Image]] = (),
    batch_size: int | None = None,
    on_picture: Callable[[int], None] | None = None,
) -> list[Image]:
    """Draw picture i from prompt i and seed i, with one CPU generator a picture.

    `guidance` and `scheduler` are the family's own where they are None. By default pictures are drawn one at a time on
    the CPU, so that the bytes of each depend on its own prompt and seed alone, and four at once on another device. With
    a larger `batch_size` the last bit of a value may depend on the batch. `on_picture` hears how many are finished.
    `hints` holds for each ControlNet in place, in their order, what it follows to each picture.
    """
    _check(model, prompts, seeds, steps, size)
    _check_hints(model, hints, len(prompts))
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
            **(_following(model, pipe, [of_net[rows] for of_net in hints]) if hints else {}),
        )
        images += drawn.images
        if on_picture is not None:
            on_picture(len(images))
    return images


def _following(model: Family, pipe: Any, hints: list[Sequence[Image]]) -> dict[str, Any]:
    """What a ControlNet pipeline takes beside the prompt, for one ControlNet or for several."""
    stacks = [torch.stack([_unit(hint) for hint in of_net]) for of_net in hints]
    scales = [control.scale for control in model.sites.control.placed.values()] if model.sites.control else []
    # Pipelines that start from a picture call that one `image`.
    name = "control_image" if "control_image" in inspect.signature(pipe.__call__).parameters else "image"
    one = len(stacks) == 1
    return {name: stacks[0] if one else stacks, "controlnet_conditioning_scale": scales[0] if one else scales}


def _unit(hint: Image) -> torch.Tensor:
    """(3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(hint.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)


def _check_hints(model: Family, hints: Sequence[Sequence[Image]], count: int) -> None:
    nets = len(model.sites.control.placed) if model.sites.control else 0
    if len(hints) != nets or any(len(of_net) != count for of_net in hints):
        raise UsageError(
            f"{nets} ControlNets are in place, and hints are given for {len(hints)}: each follows one hint a picture. "
            "Give them with --control FILE --control-type TYPE."
        )


def _check(model: Family, prompts: list[str], seeds: list[int], steps: int, size: int | None) -> None:
    if len(prompts) != len(seeds):
        raise UsageError(f"{len(prompts)} prompts and {len(seeds)} seeds: give one seed a picture.")
    if steps < 1:
        raise UsageError(f"{steps} steps draw nothing. Use at least 1; 30 is usual.")
    if size is not None and (size < model.multiple or size % model.multiple):
        raise UsageError(
            f"A picture of {size} pixels cannot be drawn. Use a multiple of {model.multiple}, such as 512."
        )

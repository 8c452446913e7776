"""What is refused before a picture is drawn: steps, seeds, sizes and hints that a base cannot draw with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from booth.core.errors import BadDataError, NotFiniteError, UsageError
from booth.core.family import Family
from booth.generate.start import Start

LAST_SEED = 2**63 - 1


def check_settings(model: Family, prompts: list[str], seeds: list[int], steps: int, guidance: float | None) -> None:
    """UsageError unless there is a seed a prompt and the base can draw with these steps and this guidance scale."""
    if len(prompts) != len(seeds):
        raise UsageError(
            f"{len(prompts)} prompts and {len(seeds)} seeds: give one seed a picture.",
            code="seeds.uneven",
            field="seeds",
        )
    if steps < 1:
        raise UsageError(
            f"{steps} steps draw nothing.", "Use at least 1; 30 is usual.", code="steps.too_few", field="steps"
        )
    if model.most_steps is not None and steps > model.most_steps:
        raise UsageError(
            f"{steps} steps are more than this base has: {model.most_steps}.",
            "Use fewer; 30 is usual.",
            code="steps.too_many",
            field="steps",
        )
    if guidance is not None and not math.isfinite(guidance):
        raise UsageError(
            f"A guidance scale of {guidance} makes no sense.",
            f"Use a number such as {model.guidance:g}.",
            code="guidance.invalid",
            field="guidance",
        )
    for seed in seeds:
        if not 0 <= seed <= LAST_SEED:
            raise UsageError(
                f"A seed is a whole number from 0 to {LAST_SEED}, and {seed} is none.",
                "Use another.",
                code="seed.invalid",
                field="seed",
            )


def check_size(model: Family, size: int | None, factor: int = 1) -> None:
    """UsageError unless the base can draw pictures of `size` pixels, its own size if None, and `factor` as large."""
    if size is not None and (size < model.multiple or size % model.multiple or size > model.largest):
        raise UsageError(
            f"A picture of {size} pixels cannot be drawn.",
            f"Use a multiple of {model.multiple}, such as {model.resolution}, and at most {model.largest}.",
            code="size.unfit",
            field="size",
        )
    if factor * (size or model.resolution) > model.largest:
        raise UsageError(
            f"`upscale={factor}` makes pictures of more than {model.largest} pixels a side, which is the most here.",
            "Use a smaller one, or draw smaller with `size`.",
            code="upscale.too_large",
            field="upscale",
        )


def check_canvas(model: Family, canvas: Start, steps: int, factor: int) -> None:
    """UsageError or BadDataError unless the base can draw over a picture; `factor` is how many pixels a latent has."""
    width, height = canvas.image.size
    if max(width, height) > model.largest:
        raise UsageError(
            f"The picture would have {max(width, height)} pixels a side, and this base draws {model.largest} at most.",
            "Set a smaller shorter side with `size`.",
            code="size.too_large",
            field="size",
        )
    if model.largest_area is not None and width * height > model.largest_area:
        raise UsageError(
            f"The picture would be {width}x{height}, and diffusers draws this base over one of "
            f"{model.largest_area:,} pixels at most.",
            "Draw it smaller with `size`.",
            code="size.too_large",
            field="size",
        )
    if model.steps_taken(steps, canvas.strength) < 1:
        least = math.ceil(1 / canvas.strength)
        raise UsageError(
            f"{steps} steps at a strength of {canvas.strength:g} draw nothing: that share of the steps is taken.",
            f"Use at least `steps={least}`.",
            code="steps.too_few",
            field="steps",
        )
    if canvas.mask is not None and not np.asarray(canvas.mask)[::factor, ::factor].any():
        raise BadDataError(
            f"The mask is too small to be drawn in at {width}x{height}.",
            "Paint a larger area white, or draw larger with `size`.",
            code="mask.too_small",
            field="mask",
        )


def check_control_images(model: Family, control_images: Sequence[Sequence[Image]], count: int) -> None:
    """UsageError unless each ControlNet in place has a control image for each of `count` pictures."""
    nets = len(model.sites.control.placed) if model.sites.control else 0
    if len(control_images) != nets or any(len(of_net) != count for of_net in control_images):
        raise UsageError(
            f"{nets} ControlNets are in place, and hints are given for {len(control_images)}: each follows one hint a "
            "picture.",
            "Give them with `controls` and `control_types`.",
            code="control.uneven",
            field="controls",
        )


def not_finite(scheduler: str, steps: int) -> NotFiniteError:
    """What is raised for a picture with values that are no numbers."""
    return NotFiniteError(
        f"A picture came out with values that are no numbers, drawn with {scheduler} in {steps} steps.",
        "Use another `scheduler` or another number of `steps`; if none helps, the concept or the base is broken.",
        code="picture.not_finite",
        field="scheduler",
    )

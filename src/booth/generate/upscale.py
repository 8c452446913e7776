"""Larger than the base draws: enlarge the finished picture and draw its details at the larger size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from booth.core.errors import UsageError
from booth.core.family import Family
from booth.families.pipelines import starting_from_picture
from booth.generate.checks import check_canvas
from booth.generate.draw import draw
from booth.generate.start import Start

REDRAWN = 0.35  # ours: the layout was settled at the size that the base knows, and only details are to come


def check_upscaled(model: Family, size: tuple[int, int], factor: int, steps: int, start: Start | None = None) -> None:
    """UsageError unless pictures of `size` (width, height) can be drawn `factor` times as large; nothing is drawn."""
    large = (size[0] * factor, size[1] * factor)
    canvas = Start(Image.new("RGB", large), REDRAWN, start.resized(large).mask if start is not None else None)
    pipe = starting_from_picture(model.pipeline(), masked=canvas.mask is not None)
    try:
        check_canvas(model, canvas, steps, pipe.vae_scale_factor)
    except UsageError as error:
        raise UsageError(
            f"The second pass of `upscale={factor}` cannot be drawn. {error.sentence}",
            error.advice,
            code="upscale.second_pass",
            field="upscale",
        ) from error


def upscaled(
    model: Family,
    images: Sequence[Image.Image],
    prompts: list[str],
    seeds: list[int],
    factor: int,
    *,
    start: Start | None = None,
    **how: Any,
) -> list[Image.Image]:
    """Each picture `factor` times as large: Lanczos, then image to image with the same prompt and seed.

    It is what AUTOMATIC1111 calls hires. fix, and needs no other model. `start` is what the pictures were drawn over:
    its mask holds at the larger size too, and around the mask its own pixels are taken, not the enlarged ones.
    `how` is as in `draw`.
    """
    size = (images[0].width * factor, images[0].height * factor)
    whole = start.resized(size) if start is not None else None
    starts: list[Start] = []
    for image in images:
        large = image.resize(size, Image.Resampling.LANCZOS)
        if whole is not None and whole.mask is not None:
            large = Image.composite(large, whole.image, whole.mask)
        starts.append(Start(large, REDRAWN, whole.mask if whole is not None else None))
    return draw(model, prompts, seeds, size=min(size), starts=starts, **how)

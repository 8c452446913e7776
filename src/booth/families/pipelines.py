"""The diffusers pipelines that start from a picture, over the very modules that a text-to-image pipeline holds."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import diffusers

from booth.core.errors import UsageError
from booth.families.layout import writing_out


def starting_from_picture(pipe: Any, masked: bool) -> Any:
    """The image-to-image pipeline or, if `masked`, the inpainting pipeline beside the text-to-image pipeline `pipe`.

    diffusers names the three alike in every family: XPipeline, XImg2ImgPipeline, XInpaintPipeline. UsageError where it
    has none. Its own `from_pipe` would not do: it casts the shared modules to float32.
    """
    name = type(pipe).__name__.removesuffix("Pipeline")
    plain, inpainting = (getattr(diffusers, name + ending, None) for ending in ("Img2ImgPipeline", "InpaintPipeline"))
    kind: Any = inpainting if masked else plain
    if kind is None:
        beside = " beside a ControlNet" if "ControlNet" in name else ""
        instead = "." if inpainting is None else ", or draw inside a --mask."
        raise UsageError(
            f"diffusers has nothing that draws over a picture with this base{beside}, as --init and --upscale do. "
            f"Leave these out{instead}"
        )
    known = {**pipe.config, **pipe.components, "add_watermarker": False}  # which SDXL's take and do not keep
    parts = {key: known[key] for key in inspect.signature(kind).parameters if key in known}
    made = writing_out(kind)(**parts)
    made.set_progress_bar_config(disable=True)
    return made


@contextmanager
def told_as_usual(pipe: Any) -> Generator[None]:
    """Within this context an inpainting pipeline takes a U-Net whose latents are not of 4 channels; others do anyway.

    Such pipelines tell a U-Net made for inpainting (9 channels) from any other by the number 4 alone; what they then do
    is right for any number.
    """
    unet = getattr(pipe, "unet", None)
    channels = None if unet is None else unet.config.in_channels
    ordinary = unet is not None and channels == pipe.vae.config.latent_channels
    if not ordinary or "Inpaint" not in type(pipe).__name__:
        yield
        return
    unet.register_to_config(in_channels=4)
    try:
        yield
    finally:
        unet.register_to_config(in_channels=channels)

"""What diffusers' pipelines take, and those that start from a picture over the modules that another one holds."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import diffusers
from diffusers import DiffusionPipeline

from booth.core.errors import UsageError
from booth.families.multi_vector import writing_out


def starting_from_picture(pipe: DiffusionPipeline, masked: bool) -> Any:
    """The image-to-image pipeline or, if `masked`, the inpainting pipeline beside the text-to-image pipeline `pipe`.

    diffusers names the three alike in every family: XPipeline, XImg2ImgPipeline, XInpaintPipeline. UsageError where it
    has none. Its own `from_pipe` would not do: it casts the shared modules to float32.
    """
    name = type(pipe).__name__.removesuffix("Pipeline")
    plain, inpainting = (getattr(diffusers, name + ending, None) for ending in ("Img2ImgPipeline", "InpaintPipeline"))
    kind: Any = inpainting if masked else plain
    if kind is None:
        beside = " beside a ControlNet" if "ControlNet" in name else ""
        instead = "." if inpainting is None else ", or draw inside a `mask`."
        raise UsageError(
            f"diffusers has nothing that draws over a picture with this base{beside}, as `init` and `upscale` do.",
            f"Leave these out{instead}",
            code="pipeline.none",
            field="init",
        )
    known = {**pipe.config, **pipe.components, "add_watermarker": False}  # which SDXL's take and do not keep
    parts = {key: known[key] for key in inspect.signature(kind).parameters if key in known}
    made = writing_out(kind)(**parts)
    made.set_progress_bar_config(disable=True)
    return made


def most_tokens(pipe: DiffusionPipeline) -> int | None:
    """How many tokens a pipeline's own `encode_prompt` reads at most; None where the tokenizer alone decides."""
    for kind in type(pipe).__mro__:
        own = vars(kind).get("encode_prompt")
        parameter = inspect.signature(own).parameters.get("max_sequence_length") if own is not None else None
        if parameter is not None:
            return parameter.default
    return None


@contextmanager
def told_as_usual(pipe: DiffusionPipeline) -> Generator[None]:
    """Within this context an inpainting pipeline takes a denoiser that it would stumble over; others do anyway.

    Those for U-Nets tell one made for inpainting (9 channels) from any other by the number 4 alone; what they then do
    is right for any number. Chroma's asks whether its transformer has FLUX.1's guidance embedding, and does not use
    the answer.
    """
    part, said = _misunderstood(pipe) if "Inpaint" in type(pipe).__name__ else (None, {})
    if part is None:
        yield
        return
    before = part._internal_dict
    part.register_to_config(**said)
    try:
        yield
    finally:
        part._internal_dict = before


def _misunderstood(pipe: Any) -> tuple[Any, dict[str, Any]]:
    """The denoiser that a pipeline does not take as it is, if it does not, and what it has to say instead."""
    unet, transformer = getattr(pipe, "unet", None), getattr(pipe, "transformer", None)
    if unet is not None and unet.config.in_channels == pipe.vae.config.latent_channels:
        return unet, {"in_channels": 4}
    if transformer is not None and "guidance_embeds" not in transformer.config:
        return transformer, {"guidance_embeds": False}
    return None, {}

"""The autoencoder's own precision: one whose configuration says that it overflows in less stays in float32."""

from __future__ import annotations

import inspect
import json
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def needs_float32(kind: type, config: Mapping[str, object]) -> bool:
    """Whether an autoencoder of this class and configuration is computed in float32 whatever the rest is in.

    diffusers' word for it is `force_upcast`, which is true where a configuration does not say otherwise: XL's gives
    no numbers in fp16, and one that was made for fp16 says that it does not need it.
    """
    said = inspect.signature(kind.__init__).parameters.get("force_upcast")
    return said is not None and bool(config.get("force_upcast", said.default))


def config_of(base: Path) -> dict[str, Any]:
    """The configuration of a base's autoencoder; empty where there is none."""
    file = base / "vae" / "config.json"
    return json.loads(file.read_bytes()) if file.is_file() else {}


def decoding_in_tiles(vae: nn.Module, large: bool) -> AbstractContextManager[None]:
    """Within this context an autoencoder that can do so decodes `large` pictures in overlapping tiles.

    Its activations grow with the pixels, and are what a GPU runs out of first. Where tiles meet, they are blended.
    """
    return _tiled(vae) if large and getattr(vae, "use_tiling", None) is False else nullcontext()


@contextmanager
def _tiled(vae: Any) -> Generator[None]:
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()


def keep_precision(vae: Any) -> None:
    """Have an autoencoder compute in the precision that it is held in, whatever it is given and autocast says.

    Pipelines hand it latents in their own precision, and some of them cast it to that when they are done with it.
    """
    encode, decode, move = vae.encode, vae.decode, vae.to

    def encoded(pixels: Tensor, *args: Any, **options: Any) -> Any:
        with torch.autocast(pixels.device.type, enabled=False):
            return encode(pixels.to(vae.dtype), *args, **options)

    def decoded(latents: Tensor, *args: Any, **options: Any) -> Any:
        with torch.autocast(latents.device.type, enabled=False):
            return decode(latents.to(vae.dtype), *args, **options)

    def moved(*where: Any, **options: Any) -> Any:
        where = tuple(each for each in where if not isinstance(each, torch.dtype))
        options.pop("dtype", None)
        return move(*where, **options) if where or options else vae

    vae.encode, vae.decode, vae.to = encoded, decoded, moved

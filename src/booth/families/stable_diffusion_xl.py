"""Stable Diffusion XL, without its refiner (Podell et al., 2307.01952)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from booth.core.family import Condition
from booth.families.layout import CLIP_LINEARS, Encoder
from booth.families.unet import SITES, UNetFamily


class StableDiffusionXL(UNetFamily):
    """U-Net told by two CLIP text encoders, by the second one's pooled vector, and by sizes."""

    name = "stable_diffusion_xl"
    title = "Stable Diffusion XL"
    offers = SITES
    sampler = "euler"
    Pipeline = StableDiffusionXLPipeline
    Controlled = StableDiffusionXLControlNetPipeline
    encoders = {
        "text_encoder": Encoder(CLIPTextModel, CLIPTokenizer, "clip_l", CLIP_LINEARS),
        "text_encoder_2": Encoder(CLIPTextModelWithProjection, CLIPTokenizer, "clip_g", CLIP_LINEARS),
    }

    def options(self, index: Mapping[str, Any]) -> dict[str, Any]:
        zeros = index.get("force_zeros_for_empty_prompt", True)
        return {"force_zeros_for_empty_prompt": zeros, "add_watermarker": False}

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, Any]:
        """Nothing to avoid is None here, not "": the unconditional embedding that the base knows is zero."""
        return {"guidance_scale": guidance, "negative_prompt": [negative] * count if negative else None}

    def embed_prompts(self, prompts: list[str]) -> Condition:
        tokens, _, pooled, _ = self._pipe.encode_prompt(prompts, None, self.device, 1, False)
        return Condition(tokens, pooled)

    def added(self, x_t: Tensor, condition: Condition) -> dict[str, Any]:
        """The pooled vector, and the size ids that pictures are drawn with: uncropped, and as large as they are.

        A photo's own size and crop are not told: photos are cropped to show the subject as it should be drawn.
        """
        height, width = (side * self.vae_factor for side in x_t.shape[-2:])
        ids = torch.tensor([[height, width, 0, 0, height, width]], device=x_t.device, dtype=self.network.dtype)
        pooled = condition.pooled
        assert pooled is not None
        return {"text_embeds": pooled.to(self.network.dtype), "time_ids": ids.expand(len(x_t), -1)}

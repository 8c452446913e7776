"""Stable Diffusion XL, without its refiner (Podell et al., 2307.01952)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from diffusers import StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from booth.core.family import Condition
from booth.families.text_encoder import CLIP_LINEARS, Encoder
from booth.families.unet import SITES, UNetFamily


class StableDiffusionXL(UNetFamily):
    """U-Net told by two CLIP text encoders, by the second one's pooled vector, and by sizes."""

    name = "stable_diffusion_xl"
    title = "Stable Diffusion XL"
    offers = SITES
    sampler = "euler"
    Pipeline = StableDiffusionXLPipeline
    Controlled = StableDiffusionXLControlNetPipeline
    kept = {False: (13e6, 2866), True: (0, 338)}
    encoders = {
        "text_encoder": Encoder(CLIPTextModel, CLIPTokenizer, "clip_l", CLIP_LINEARS),
        "text_encoder_2": Encoder(CLIPTextModelWithProjection, CLIPTokenizer, "clip_g", CLIP_LINEARS),
    }

    def options(self, index: Mapping[str, object]) -> dict[str, object]:
        zeros = index.get("force_zeros_for_empty_prompt", True)
        return {"force_zeros_for_empty_prompt": zeros, "add_watermarker": False}

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, object]:
        """Nothing to avoid is None here, not "": the unconditional embedding that the base knows is zero."""
        return {"guidance_scale": guidance, "negative_prompt": [negative] * count if negative else None}

    def embed_prompts(self, prompts: list[str]) -> Condition:
        tokens, _, pooled, _ = self._pipe.encode_prompt(prompts, None, self.device, 1, False)
        return Condition(tokens, pooled)

    @property
    def bucket_step(self) -> int:
        """64 at full size, as its published list has it: twice what its U-Net of three levels needs."""
        return 2 * super().bucket_step

    def added(self, x_t: Tensor, condition: Condition) -> dict[str, Tensor]:
        """The pooled vector, and size ids: those of the rows where they have some, or else those of drawing.

        Drawn pictures are uncropped, and as large as they are. A square is told as one: it was cut to show the subject
        as it should be drawn. Of a photo in a bucket its own size is told, and what was cut off.
        """
        height, width = (side * self.vae_factor for side in x_t.shape[-2:])
        ids, dtype, pooled = condition.sizes, self.dtype, condition.pooled
        assert pooled is not None
        if ids is None:
            ids = torch.tensor([[height, width, 0, 0, height, width]], device=x_t.device).expand(len(x_t), -1)
        return {"text_embeds": pooled.to(dtype), "time_ids": ids.to(x_t.device, dtype)}

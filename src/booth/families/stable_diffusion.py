"""Stable Diffusion 1.x and 2.x, and the embedded base, which has the same layout."""

from __future__ import annotations

from collections.abc import Mapping

from diffusers import StableDiffusionControlNetPipeline, StableDiffusionPipeline
from transformers import CLIPTextModel, CLIPTokenizer

from booth.core.family import Condition
from booth.families.text_encoder import CLIP_LINEARS, Encoder
from booth.families.unet import SITES, UNetFamily


class StableDiffusion(UNetFamily):
    """U-Net (Rombach et al., 2112.10752), CLIP text encoder and KL autoencoder, predicting noise or velocity."""

    name = "stable_diffusion"
    title = "Stable Diffusion 1.x / 2.x"
    offers = SITES
    sampler = "ddim"
    guidance = 6.0  # 7.5 draws more of what is asked for, and less of what was learned from few photos
    Pipeline = StableDiffusionPipeline
    Controlled = StableDiffusionControlNetPipeline
    kept = {False: (2e6, 1599), True: (0, 410)}
    encoders = {"text_encoder": Encoder(CLIPTextModel, CLIPTokenizer, "clip_l", CLIP_LINEARS)}

    def options(self, index: Mapping[str, object]) -> dict[str, object]:
        return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}

    def embed_prompts(self, prompts: list[str]) -> Condition:
        return Condition(self._pipe.encode_prompt(prompts, self.device, 1, False)[0])

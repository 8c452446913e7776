"""Qwen-Image (2508.02324)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from booth.core.family import Condition, Posterior
from booth.families.flow import FlowFamily, pack, unpack
from booth.families.multi_vector import writing_out
from booth.families.text_encoder import Encoder
from booth.families.video_latents import latent_side_of, standardised


class QwenImage(FlowFamily):
    """Transformer over patches and the tokens of Qwen2.5-VL, with an autoencoder made for videos of one frame."""

    name = "qwen_image"
    title = "Qwen-Image"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    guidance = 4.0
    Pipeline = writing_out(QwenImagePipeline)
    Autoencoder = AutoencoderKLQwenImage
    denoiser = ("transformer", QwenImageTransformer2DModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
        "feed_forward": ("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2"),
        "modulation": ("img_mod.1", "txt_mod.1"),
    }
    kept = {False: (285e6, 17329), True: (17e6, 1033)}  # with 64 tokens
    encoders = {"text_encoder": Encoder(Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer, "qwen25_7b")}

    @classmethod
    def latent_side(cls, vae: Mapping[str, Any]) -> int:
        return latent_side_of(vae)

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, object]:
        return {"true_cfg_scale": guidance, "negative_prompt": [negative or " "] * count if guidance > 1 else None}

    def embed_prompts(self, prompts: list[str]) -> Condition:
        tokens, mask = self._pipe.encode_prompt(prompts, self.device)
        mask = torch.ones(tokens.shape[:2], device=tokens.device) if mask is None else mask
        return Condition(tokens, mask=mask.bool())

    def encode(self, pixels: Tensor) -> Posterior:
        return standardised(self.vae, pixels.to(self.device))

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype, mask = self.dtype, condition.mask
        height, width = x_t.shape[-2:]
        predicted = self.network(
            hidden_states=pack(x_t.to(dtype)),
            timestep=t / 1000,
            encoder_hidden_states=condition.tokens.to(dtype),
            encoder_hidden_states_mask=None if mask is None or bool(mask.all()) else mask.long(),
            img_shapes=[[(1, height // 2, width // 2)]] * len(x_t),
            return_dict=False,
        )[0]
        return unpack(predicted, height, width)

"""FLUX.1: dev, and schnell, which was distilled from it."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from booth.core.family import Condition
from booth.families.flow import FlowFamily, no_negative, pack, unpack
from booth.families.layout import CLIP_LINEARS, Encoder

TRAINING_GUIDANCE = 3.5  # what the guidance embedding is told while training: the value most pictures are drawn with


class Flux(FlowFamily):
    """Transformer over patches and T5's tokens, told by CLIP's pooled vector and, in dev, by the guidance scale."""

    name = "flux"
    title = "FLUX.1"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    guidance = TRAINING_GUIDANCE
    Pipeline = FluxPipeline
    denoiser = ("transformer", FluxTransformer2DModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
        "feed_forward": (
            *("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
            "proj_mlp",  # of the single-stream blocks; their proj_out shares its name with the last layer
        ),
    }
    kept = {False: (1977e6, 15097), True: (70e6, 998)}
    encoders = {
        "text_encoder": Encoder(CLIPTextModel, CLIPTokenizer, "clip_l", CLIP_LINEARS),
        "text_encoder_2": Encoder(T5EncoderModel, T5TokenizerFast, "t5xxl"),
    }

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, Any]:
        """The scale goes into the embedding that dev was distilled with, which leaves no place for what to avoid."""
        return no_negative(self.title, guidance, negative)

    def embed_prompts(self, prompts: list[str]) -> Condition:
        tokens, pooled, _ = self._pipe.encode_prompt(prompts, device=self.device)
        return Condition(tokens, pooled)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype, pooled = self.network.dtype, condition.pooled
        assert pooled is not None
        height, width = x_t.shape[-2:]
        told = torch.full((len(x_t),), TRAINING_GUIDANCE, device=x_t.device)
        predicted = self.network(
            hidden_states=pack(x_t.to(dtype)),
            timestep=t / 1000,
            guidance=told if self.network.config.guidance_embeds else None,
            pooled_projections=pooled.to(dtype),
            encoder_hidden_states=condition.tokens.to(dtype),
            txt_ids=torch.zeros(condition.tokens.shape[1], 3, device=x_t.device, dtype=dtype),
            img_ids=FluxPipeline._prepare_latent_image_ids(len(x_t), height // 2, width // 2, x_t.device, dtype),
            return_dict=False,
        )[0]
        return unpack(predicted, height, width)

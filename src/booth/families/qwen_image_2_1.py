"""Qwen-Image-2.1, and its weights that are drawn with in few fixed steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKLQwenImage21, QwenImage21Pipeline, QwenImage21Transformer2DModel
from torch import Tensor
from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

from booth.core.family import Condition, Posterior
from booth.families.flow import FlowFamily
from booth.families.multi_vector import writing_out
from booth.families.text_encoder import Encoder
from booth.families.video_latents import latent_side_of, standardised

FIXED = "sample_sigmas"  # in model_index.json, of weights that are drawn with at these noise levels alone
PLACE = 2  # latents a side of a place in the sequence, which a side of a picture has to be a multiple of


class Words(Qwen3VLProcessor):
    """Qwen3-VL's processor for words alone: a tokenizer, without what looks at pictures and needs torchvision."""

    def __init__(self, tokenizer: Any) -> None:  # those of the class are made of more than this one has
        self.tokenizer = tokenizer

    def __call__(self, text: list[str], **options: Any) -> Any:  # type: ignore[override]
        return self.tokenizer(text, **options)

    def apply_chat_template(self, conversation: Any, **_: Any) -> Any:  # type: ignore[override]
        """The tokens of one conversation, as the only one of its batch."""
        text = self.tokenizer.apply_chat_template(conversation, tokenize=False)
        return [self.tokenizer(text, add_special_tokens=False)["input_ids"]]


class QwenImage21(FlowFamily):
    """Transformer over one causal sequence of Qwen3-VL's tokens and of latents, sixteen pixels each.

    Its autoencoder has a fourth channel, how opaque a picture is: photos are.
    """

    name = "qwen_image_2_1"
    title = "Qwen-Image-2.1"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    guidance = 4.0
    patch = PLACE
    latents = 64
    Pipeline = writing_out(QwenImage21Pipeline)
    Autoencoder = AutoencoderKLQwenImage21
    denoiser = ("transformer", QwenImage21Transformer2DModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0"),
        "feed_forward": ("img_mlp.proj", "img_mlp.gate_layer", "img_mlp.out"),
        "modulation": ("modulation.1",),
    }
    kept = {False: (279e6, 15434), True: (19e6, 1041)}  # with 64 tokens
    encoders = {
        "text_encoder": Encoder(
            Qwen3VLForConditionalGeneration, AutoTokenizer, "qwen3vl_8b", around=Words, folder="processor"
        )
    }

    @classmethod
    def latent_side(cls, vae: Mapping[str, Any]) -> int:
        return latent_side_of(vae)

    def options(self, index: Mapping[str, object]) -> dict[str, object]:
        return {FIXED: index[FIXED]} if index.get(FIXED) else {}

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, object]:
        return {"true_cfg_scale": guidance, "negative_prompt": [negative or " "] * count if guidance > 1 else None}

    def patches(self, latents: Tensor) -> int:
        return latents.shape[-2] * latents.shape[-1]

    def embed_prompts(self, prompts: list[str]) -> Condition:
        tokens, mask, _ = self._pipe.encode_prompt(prompts, device=self.device)
        mask = torch.ones(tokens.shape[:2], device=tokens.device) if mask is None else mask
        return Condition(tokens, mask=mask.bool())

    def encode(self, pixels: Tensor) -> Posterior:
        opaque = pixels.new_ones(len(pixels), self.vae.config.in_channels - pixels.shape[1], *pixels.shape[2:])
        return standardised(self.vae, torch.cat([pixels, opaque], dim=1).to(self.device))

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype, mask = self.dtype, condition.mask
        assert mask is not None
        height, width = x_t.shape[-2:]
        places = mask.new_ones(len(mask), height * width // PLACE**2)
        predicted = self.network(
            hidden_states=x_t.to(dtype).flatten(2).transpose(1, 2),
            timestep=t / 1000,
            encoder_hidden_states=condition.tokens.to(dtype),
            encoder_hidden_states_mask=None if bool(mask.all()) else mask,
            img_shapes=[[(1, height, width)]] * len(x_t),
            img_mask=torch.cat([torch.zeros_like(mask), places], dim=1),
            return_dict=False,
        )[0]
        return predicted[:, -height * width :].transpose(1, 2).reshape(x_t.shape)

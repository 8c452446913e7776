"""Krea 2, and its distilled weights that draw in a few steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import AutoencoderKLQwenImage, Krea2Pipeline, Krea2Transformer2DModel
from torch import Tensor
from transformers import Qwen2Tokenizer, Qwen3VLModel

from booth.core.family import Condition, Posterior
from booth.families.flow import FlowFamily, pack, unpack
from booth.families.multi_vector import writing_out
from booth.families.text_encoder import Encoder
from booth.families.video_latents import latent_side_of, standardised

DISTILLED_MU = 1.15  # logarithm of the shift that the distilled weights are drawn with, whatever the size
KEPT = ("text_encoder_select_layers", "is_distilled", "patch_size")  # by the pipeline, beside its parts


class Krea2(FlowFamily):
    """Transformer over patches and what twelve layers of Qwen3-VL make of the prompt, in Qwen-Image's latents."""

    name = "krea_2"
    title = "Krea 2"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    guidance = 5.5  # which is 4.5 by the pipeline's count
    Pipeline = writing_out(Krea2Pipeline)
    Autoencoder = AutoencoderKLQwenImage
    denoiser = ("transformer", Krea2Transformer2DModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0", "to_gate"),
        "feed_forward": ("ff.gate", "ff.up", "ff.down"),
        "projection": ("img_in", "txt_in.linear_1", "txt_in.linear_2"),
    }
    kept = {False: (3495e6, 19704), True: (1101e6, 1446)}
    encoders = {"text_encoder": Encoder(Qwen3VLModel, Qwen2Tokenizer, "qwen3vl_4b")}

    @classmethod
    def latent_side(cls, vae: Mapping[str, Any]) -> int:
        return latent_side_of(vae)

    def options(self, index: Mapping[str, object]) -> dict[str, object]:
        return {name: index[name] for name in KEPT if name in index}

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, object]:
        """The pipeline's scale is ours less one: 0 is no guidance to it."""
        return {"guidance_scale": guidance - 1, "negative_prompt": [negative] * count}

    def mu(self, patches: int) -> float:
        return DISTILLED_MU if self._options.get("is_distilled") else super().mu(patches)

    def embed_prompts(self, prompts: list[str]) -> Condition:
        """Tokens are (B, L, layers, D) here."""
        tokens, mask = self._pipe.encode_prompt(prompts, self.device)
        return Condition(tokens, mask=mask.bool())

    def encode(self, pixels: Tensor) -> Posterior:
        return standardised(self.vae, pixels.to(self.device))

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype, mask = self.dtype, condition.mask
        height, width = x_t.shape[-2:]
        words = condition.tokens.shape[1]
        predicted = self.network(
            hidden_states=pack(x_t.to(dtype)),
            encoder_hidden_states=condition.tokens.to(dtype),
            timestep=t / 1000,
            position_ids=Krea2Pipeline.prepare_position_ids(words, height // 2, width // 2, x_t.device),
            encoder_attention_mask=None if mask is None else mask.to(x_t.device),
            return_dict=False,
        )[0]
        return unpack(predicted, height, width)

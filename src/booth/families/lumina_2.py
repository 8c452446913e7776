"""Lumina-Image 2.0 (2503.21758)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel
from torch import Tensor
from transformers import Gemma2Model, GemmaTokenizer

from booth.core.family import Condition
from booth.families.flow import FlowFamily
from booth.families.multi_vector import writing_out
from booth.families.text_encoder import Encoder


class Lumina2(FlowFamily):
    """Transformer over one sequence of the tokens of Gemma 2 and patches, in FLUX.1's latents."""

    name = "lumina_2"
    title = "Lumina-Image 2.0"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    guidance = 4.0
    Pipeline = writing_out(Lumina2Pipeline)
    denoiser = ("transformer", Lumina2Transformer2DModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0"),
        "feed_forward": ("feed_forward.linear_1", "feed_forward.linear_2", "feed_forward.linear_3"),
        "modulation": ("norm1.linear",),
    }
    kept = {False: (604e6, 9272), True: (78e6, 1243)}
    encoders = {"text_encoder": Encoder(Gemma2Model, GemmaTokenizer, "gemma2_2b")}

    @property
    def largest(self) -> int:
        """As far as its tables of positions go, which are of words, rows and columns."""
        return min(self.network.config.axes_lens[1:]) * self.multiple

    def noise_level(self, told: Mapping[str, Any]) -> Tensor:
        return 1 - told["timestep"]

    def embed_prompts(self, prompts: list[str]) -> Condition:
        tokens, mask, _, _ = self._pipe.encode_prompt(prompts, do_classifier_free_guidance=False, device=self.device)
        return Condition(tokens, mask=mask.bool())

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The transformer is told how far denoising is, and predicts the way from noise to picture."""
        dtype, mask = self.dtype, condition.mask
        assert mask is not None
        return -self.network(
            hidden_states=x_t.to(dtype),
            timestep=1 - t / 1000,
            encoder_hidden_states=condition.tokens.to(dtype),
            encoder_attention_mask=mask.long(),
            return_dict=False,
        )[0]

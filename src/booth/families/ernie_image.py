"""ERNIE-Image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKLFlux2, ErnieImagePipeline, ErnieImageTransformer2DModel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer, Mistral3Model

from booth.core.family import Condition, Posterior
from booth.families.flow import FlowFamily
from booth.families.flux_2_latents import standardised
from booth.families.multi_vector import writing_out, written_out
from booth.families.text_encoder import Encoder


class ErnieImage(FlowFamily):
    """Transformer over one sequence of patches and the tokens of Ministral 3, in FLUX.2's latents.

    The language model that its pipeline may rewrite prompts with is left out: what was learned is drawn by its words.
    """

    name = "ernie_image"
    title = "ERNIE-Image"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    guidance = 4.0
    patch = 1  # its latents are patches
    latents = 64
    sequence_first = ("mlp.gate_proj", "mlp.up_proj", "mlp.linear_fc2")
    Pipeline = writing_out(ErnieImagePipeline)
    Autoencoder = AutoencoderKLFlux2
    denoiser = ("transformer", ErnieImageTransformer2DModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0"),
        "feed_forward": ("mlp.gate_proj", "mlp.up_proj", "mlp.linear_fc2"),
        "modulation": ("adaLN_modulation.1",),
    }
    kept = {False: (147e6, 8946), True: (12e6, 707)}
    encoders = {"text_encoder": Encoder(Mistral3Model, AutoTokenizer, "ministral3_3b")}

    @classmethod
    def latent_side(cls, vae: Mapping[str, Any]) -> int:
        return 2 ** len(vae["block_out_channels"])

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, object]:
        return super().guided(guidance, negative, count) | {"use_pe": False}

    def noise_level(self, told: Mapping[str, Any]) -> Tensor:
        return told["timestep"] / 1000

    def embed_prompts(self, prompts: list[str]) -> Condition:
        """As the pipeline does, which lets no gradient through."""
        rows = [self._hidden(prompt) for prompt in written_out(prompts, self.tokenizer)]
        masks = [torch.ones(len(row), dtype=torch.bool, device=row.device) for row in rows]
        return Condition(pad_sequence(rows, batch_first=True), mask=pad_sequence(masks, batch_first=True))

    def _hidden(self, prompt: str) -> Tensor:
        ids = self.tokenizer(prompt, add_special_tokens=True, truncation=True, padding=False)["input_ids"]
        start = self.tokenizer.bos_token_id
        ids = ids or [0 if start is None else start]
        encoder = self._parts["text_encoder"]
        return encoder(input_ids=torch.tensor([ids], device=self.device), output_hidden_states=True).hidden_states[-2][
            0
        ]

    def encode(self, pixels: Tensor) -> Posterior:
        return standardised(
            self.vae, pixels.to(self.device), eps=1e-5
        )  # as its pipeline decodes, whatever is configured

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype, mask = self.dtype, condition.mask
        assert mask is not None
        return self.network(
            hidden_states=x_t.to(dtype),
            timestep=t.to(dtype),
            text_bth=condition.tokens.to(dtype),
            text_lens=mask.sum(1).to(x_t.device),
            return_dict=False,
        )[0]

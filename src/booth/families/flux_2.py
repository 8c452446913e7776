"""FLUX.2 dev, which was distilled to be told its guidance scale."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLFlux2, Flux2Pipeline, Flux2Transformer2DModel
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu
from torch import Tensor
from transformers import AutoTokenizer, Mistral3ForConditionalGeneration

from booth.core.family import Condition, Posterior
from booth.families.flow import FlowFamily, no_negative
from booth.families.flux_2_latents import standardised
from booth.families.multi_vector import writing_out
from booth.families.text_encoder import Encoder

STEPS = 50  # the shift also depends on the number of steps a picture is drawn in; this is the pipeline's own
TRAINING_GUIDANCE = 4.0  # what the guidance embedding is told while training: the scale it is drawn with


class Flux2(FlowFamily):
    """Transformer over normalised 2x2 patches of latents and the tokens of three layers of Mistral Small 3.

    Of the processor that its pipeline has for words and pictures the tokenizer alone is taken, without torchvision.
    """

    name = "flux_2"
    title = "FLUX.2 dev"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    guidance = TRAINING_GUIDANCE
    Pipeline = writing_out(Flux2Pipeline)
    Autoencoder = AutoencoderKLFlux2
    denoiser = ("transformer", Flux2Transformer2DModel)
    linears = {
        "attention": (
            *("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
            *("to_qkv_mlp_proj", "to_out"),  # of the single-stream blocks
        ),
        "feed_forward": ("ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out"),
    }
    kept = {False: (3207e6, 24480), True: (260e6, 1994)}
    encoders = {"text_encoder": Encoder(Mistral3ForConditionalGeneration, AutoTokenizer, "mistral3_24b")}

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, object]:
        """The scale goes into the embedding that dev was distilled with, which leaves no place for what to avoid."""
        return no_negative(self.title, guidance, negative)

    def mu(self, patches: int) -> float:
        return compute_empirical_mu(patches, STEPS)

    def patches(self, latents: Tensor) -> int:
        return latents.shape[-2] * latents.shape[-1]

    def embed_prompts(self, prompts: list[str]) -> Condition:
        return Condition(self._pipe.encode_prompt(prompts, self.device)[0])

    def encode(self, pixels: Tensor) -> Posterior:
        return standardised(self.vae, pixels.to(self.device))

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype = self.dtype
        tokens = condition.tokens.to(dtype)
        predicted = self.network(
            hidden_states=Flux2Pipeline._pack_latents(x_t.to(dtype)),
            timestep=t / 1000,
            guidance=torch.full((len(x_t),), TRAINING_GUIDANCE, device=x_t.device),
            encoder_hidden_states=tokens,
            txt_ids=Flux2Pipeline._prepare_text_ids(tokens).to(x_t.device),
            img_ids=Flux2Pipeline._prepare_latent_ids(x_t).to(x_t.device),
            return_dict=False,
        )[0]
        return predicted.permute(0, 2, 1).reshape(x_t.shape)

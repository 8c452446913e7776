"""FLUX.2 klein: the small FLUX.2, with one language model as its text encoder."""

from __future__ import annotations

from collections.abc import Mapping

from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline, Flux2Transformer2DModel
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from torch import Tensor
from transformers import Qwen2Tokenizer, Qwen3ForCausalLM

from booth.core.family import Condition, Posterior
from booth.families.flow import FlowFamily, no_negative
from booth.families.flux_2_latents import standardised
from booth.families.multi_vector import writing_out
from booth.families.text_encoder import Encoder

STEPS = 50  # the shift also depends on the number of steps a picture is drawn in; this is the pipeline's own


class Flux2Klein(FlowFamily):
    """Transformer over normalised 2x2 patches of latents and the tokens of three layers of Qwen3."""

    name = "flux_2_klein"
    title = "FLUX.2 klein"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    guidance = 4.0
    largest_area = 1024 * 1024  # its inpainting pipeline shrinks what has more
    Pipeline = writing_out(Flux2KleinPipeline)
    Autoencoder = AutoencoderKLFlux2
    denoiser = ("transformer", Flux2Transformer2DModel)
    linears = {
        "attention": (
            *("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
            *("to_qkv_mlp_proj", "to_out"),  # of the single-stream blocks
        ),
        "feed_forward": ("ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out"),
    }
    kept = {False: (736e6, 5623), True: (81e6, 626)}  # of 4 billion values
    encoders = {"text_encoder": Encoder(Qwen3ForCausalLM, Qwen2Tokenizer, "qwen3_4b")}

    def options(self, index: Mapping[str, object]) -> dict[str, object]:
        return {"is_distilled": index.get("is_distilled", False)}

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, object]:
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
            hidden_states=Flux2KleinPipeline._pack_latents(x_t.to(dtype)),
            timestep=t / 1000,
            guidance=None,
            encoder_hidden_states=tokens,
            txt_ids=Flux2KleinPipeline._prepare_text_ids(tokens).to(x_t.device),
            img_ids=Flux2KleinPipeline._prepare_latent_ids(x_t).to(x_t.device),
            return_dict=False,
        )[0]
        return predicted.permute(0, 2, 1).reshape(x_t.shape)

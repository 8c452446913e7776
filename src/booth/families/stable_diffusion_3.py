"""Stable Diffusion 3 and 3.5 (Esser et al., 2403.03206)."""

from __future__ import annotations

from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from booth.core.family import Condition
from booth.families.flow import FlowFamily
from booth.families.layout import CLIP_LINEARS, Encoder, writing_out


class StableDiffusion3(FlowFamily):
    """Transformer over pictures and text together, told by two CLIP text encoders and by T5, which may be missing."""

    name = "stable_diffusion_3"
    title = "Stable Diffusion 3 / 3.5"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    Pipeline = writing_out(StableDiffusion3Pipeline)
    denoiser = ("transformer", SD3Transformer2DModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
        "feed_forward": ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
    }
    kept = {False: (252e6, 2905), True: (24e6, 277)}  # medium
    encoders = {
        "text_encoder": Encoder(CLIPTextModelWithProjection, CLIPTokenizer, "clip_l", CLIP_LINEARS),
        "text_encoder_2": Encoder(CLIPTextModelWithProjection, CLIPTokenizer, "clip_g", CLIP_LINEARS),
        "text_encoder_3": Encoder(T5EncoderModel, T5TokenizerFast, "t5xxl"),
    }

    def embed_prompts(self, prompts: list[str]) -> Condition:
        tokens, _, pooled, _ = self._pipe.encode_prompt(
            prompts, None, None, device=self.device, do_classifier_free_guidance=False
        )
        return Condition(tokens, pooled)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype, pooled = self.network.dtype, condition.pooled
        assert pooled is not None
        return self.network(
            hidden_states=x_t.to(dtype),
            timestep=t,
            encoder_hidden_states=condition.tokens.to(dtype),
            pooled_projections=pooled.to(dtype),
            return_dict=False,
        )[0]

"""Stable Diffusion 3 and 3.5 (Esser et al., 2403.03206)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from diffusers import (
    SD3ControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusion3Pipeline,
)
from torch import Tensor, nn
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel, T5Tokenizer

from booth.core.family import Condition
from booth.families.control import LatentlyControlledFamily
from booth.families.flow import FlowFamily
from booth.families.multi_vector import writing_out
from booth.families.text_encoder import CLIP_LINEARS, Encoder


class StableDiffusion3(LatentlyControlledFamily, FlowFamily):
    """Transformer over pictures and text together, told by two CLIP text encoders and by T5, which may be missing.

    A ControlNet copies the first half of its blocks, which is diffusers' own number for the 24 blocks of SD 3 medium.
    """

    name = "stable_diffusion_3"
    title = "Stable Diffusion 3 / 3.5"
    offers = ("token_tables", "linears", "denoiser", "text_encoders", "control")
    Pipeline = writing_out(StableDiffusion3Pipeline)
    Control = SD3ControlNetModel
    Controlled = writing_out(StableDiffusion3ControlNetPipeline)
    matched = ("in_channels", "patch_size", "num_attention_heads", "attention_head_dim", "joint_attention_dim")
    denoiser = ("transformer", SD3Transformer2DModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
        "feed_forward": ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
        "modulation": ("norm1.linear", "norm1_context.linear"),
    }
    kept = {False: (252e6, 2905), True: (24e6, 277)}  # medium
    encoders = {
        "text_encoder": Encoder(CLIPTextModelWithProjection, CLIPTokenizer, "clip_l", CLIP_LINEARS),
        "text_encoder_2": Encoder(CLIPTextModelWithProjection, CLIPTokenizer, "clip_g", CLIP_LINEARS),
        "text_encoder_3": Encoder(T5EncoderModel, T5Tokenizer, "t5xxl"),
    }

    @property
    def largest(self) -> int:
        """As far as its table of positions goes: 3072 pixels for medium."""
        return self.network.config.pos_embed_max_size * self.multiple

    def noise_level(self, told: Mapping[str, Any]) -> Tensor:
        return told["timestep"] / 1000

    def embed_prompts(self, prompts: list[str]) -> Condition:
        tokens, _, pooled, _ = self._pipe.encode_prompt(
            prompts, None, None, device=self.device, do_classifier_free_guidance=False
        )
        return Condition(tokens, pooled)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype, pooled = self.dtype, condition.pooled
        assert pooled is not None
        told: dict[str, Any] = {
            "hidden_states": x_t.to(dtype),
            "timestep": t,
            "encoder_hidden_states": condition.tokens.to(dtype),
            "pooled_projections": pooled.to(dtype),
        }
        (added,) = self.control_residuals(condition.control_image, **told) or (None,)
        return self.network(**told, block_controlnet_hidden_states=added, return_dict=False)[0]

    def control_blocks(self) -> nn.Module:
        half = self.network.config.num_layers // 2
        denoiser = self.to_copy_from(**self.control_config())
        made = SD3ControlNetModel.from_transformer(denoiser, num_layers=half, num_extra_conditioning_channels=0)
        return cast(nn.Module, made)

    def control_config(self) -> dict[str, object]:
        """A ControlNet is told the pooled prompt and sees shifted latents, as the denoiser does.

        diffusers' training script teaches it so too, but leaves the default in its file, by which pipelines do neither.
        """
        return super().control_config() | {"force_zeros_for_pooled_projection": False}

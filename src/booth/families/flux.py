"""FLUX.1: dev, and schnell, which was distilled from it."""

from __future__ import annotations

from typing import Any, cast

import torch
from diffusers import FluxControlNetModel, FluxControlNetPipeline, FluxPipeline, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer

from booth.core.family import Condition
from booth.families.control import LatentlyControlledFamily
from booth.families.flow import FlowFamily, no_negative, pack, unpack
from booth.families.multi_vector import writing_out
from booth.families.text_encoder import CLIP_LINEARS, Encoder

TRAINING_GUIDANCE = 3.5  # what the guidance embedding is told while training: the value most pictures are drawn with
CONTROL_BLOCKS, CONTROL_SINGLE_BLOCKS = 4, 10  # that a ControlNet copies, as `from_transformer` does by itself


class Flux(LatentlyControlledFamily, FlowFamily):
    """Transformer over patches and T5's tokens, told by CLIP's pooled vector and, in dev, by the guidance scale.

    A ControlNet copies the first of its double-stream and the first of its single-stream blocks.
    """

    name = "flux"
    title = "FLUX.1"
    offers = ("token_tables", "linears", "denoiser", "text_encoders", "control")
    guidance = TRAINING_GUIDANCE
    Pipeline = FluxPipeline
    Control = FluxControlNetModel
    Controlled = writing_out(FluxControlNetPipeline)
    matched = ("in_channels", "num_attention_heads", "attention_head_dim", "joint_attention_dim", "guidance_embeds")
    denoiser = ("transformer", FluxTransformer2DModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
        "feed_forward": (
            *("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
            "proj_mlp",  # of the single-stream blocks
        ),
        "projection": ("proj_out",),  # out of the single-stream blocks, and the last layer
        "modulation": ("norm1.linear", "norm1_context.linear", "norm.linear"),  # kohya's scripts adapt these two too
        "ends": ("x_embedder", "context_embedder", "linear_1", "linear_2"),  # and, where asked to, these
    }
    kept = {False: (1977e6, 15097), True: (70e6, 998)}
    encoders = {
        "text_encoder": Encoder(CLIPTextModel, CLIPTokenizer, "clip_l", CLIP_LINEARS),
        "text_encoder_2": Encoder(T5EncoderModel, T5Tokenizer, "t5xxl"),
    }

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, object]:
        """The scale goes into the embedding that dev was distilled with, which leaves no place for what to avoid."""
        return no_negative(self.title, guidance, negative)

    def embed_prompts(self, prompts: list[str]) -> Condition:
        tokens, pooled, _ = self._pipe.encode_prompt(prompts, device=self.device)
        return Condition(tokens, pooled)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype, pooled = self.dtype, condition.pooled
        assert pooled is not None
        height, width = x_t.shape[-2:]
        guidance = torch.full((len(x_t),), TRAINING_GUIDANCE, device=x_t.device)
        told: dict[str, Any] = {
            "hidden_states": pack(x_t.to(dtype)),
            "timestep": t / 1000,
            "guidance": guidance if self.network.config.guidance_embeds else None,
            "pooled_projections": pooled.to(dtype),
            "encoder_hidden_states": condition.tokens.to(dtype),
            "txt_ids": torch.zeros(condition.tokens.shape[1], 3, device=x_t.device, dtype=dtype),
            "img_ids": FluxPipeline._prepare_latent_image_ids(len(x_t), height // 2, width // 2, x_t.device, dtype),
        }
        double, single = self.control_residuals(condition.control_image, **told) or (None, None)
        added = {"controlnet_block_samples": double, "controlnet_single_block_samples": single}
        return unpack(self.network(**told, **added, return_dict=False)[0], height, width)

    def encode_control(self, control_image: Tensor) -> Tensor:
        return pack(super().encode_control(control_image))

    def control_blocks(self) -> nn.Module:
        config = self.network.config
        made = FluxControlNetModel.from_transformer(
            self.to_copy_from(),
            num_layers=min(CONTROL_BLOCKS, config.num_layers),
            num_single_layers=min(CONTROL_SINGLE_BLOCKS, config.num_single_layers),
            attention_head_dim=config.attention_head_dim,
            num_attention_heads=config.num_attention_heads,
        )
        return cast(nn.Module, made)

"""Chroma, which was made from FLUX.1 schnell and follows a guidance scale of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.utils.checkpoint
from diffusers import ChromaPipeline, ChromaTransformer2DModel
from torch import Tensor, nn
from transformers import T5EncoderModel, T5Tokenizer

from booth.core.family import Condition
from booth.families.flow import FlowFamily, pack, unpack
from booth.families.text_encoder import Encoder


class Chroma(FlowFamily):
    """Transformer over patches and T5's tokens, whose modulations one small network makes for all blocks."""

    name = "chroma"
    title = "Chroma"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    Pipeline = ChromaPipeline
    denoiser = ("transformer", ChromaTransformer2DModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
        "feed_forward": (
            *("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
            "proj_mlp",  # of the single-stream blocks
        ),
        "projection": ("proj_out",),  # out of the single-stream blocks, and the last layer
        "modulation": ("linear_1", "linear_2"),  # of the network that makes them
    }
    kept = {False: (2022e6, 15097), True: (175e6, 998)}
    encoders = {"text_encoder": Encoder(T5EncoderModel, T5Tokenizer, "t5xxl")}

    def embed_prompts(self, prompts: list[str]) -> Condition:
        tokens, _, mask, *_ = self._pipe.encode_prompt(prompts, device=self.device, do_classifier_free_guidance=False)
        return Condition(tokens, mask=mask.bool())

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The mask is numbers, as the pipeline has it, which adds it to the attention instead of closing anything."""
        dtype, mask = self.dtype, condition.mask
        assert mask is not None
        height, width = x_t.shape[-2:]
        patches = pack(x_t.to(dtype))
        told = self._pipe._prepare_attention_mask(*patches.shape[:2], dtype, mask.to(dtype))
        if self.network.gradient_checkpointing:
            self.network._gradient_checkpointing_func = partial(_recompute, told)
        predicted = self.network(
            hidden_states=patches,
            timestep=t / 1000,
            encoder_hidden_states=condition.tokens.to(dtype),
            txt_ids=torch.zeros(condition.tokens.shape[1], 3, device=x_t.device, dtype=dtype),
            img_ids=ChromaPipeline._prepare_latent_image_ids(len(x_t), height // 2, width // 2, x_t.device, dtype),
            attention_mask=told,
            return_dict=False,
        )[0]
        return unpack(predicted, height, width)


def _recompute(mask: Tensor, block: nn.Module, *inputs: Any) -> Any:
    """A block to be computed again in the backward pass; diffusers forgets its single-stream blocks' mask there."""
    return torch.utils.checkpoint.checkpoint(partial(block, attention_mask=mask), *inputs[:4], use_reentrant=False)

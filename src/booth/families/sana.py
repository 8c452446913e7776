"""Sana (2410.10629), and Sana 1.5 (2501.18427)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderDC, DPMSolverMultistepScheduler, SanaPipeline, SanaTransformer2DModel
from torch import Tensor
from transformers import Gemma2Model, GemmaTokenizer

from booth.core.family import Condition, Posterior
from booth.families.flow import FlowFamily
from booth.families.multi_vector import writing_out
from booth.families.text_encoder import Encoder

ROUGHEST = 32  # pixels that its pipeline wants every side to be a multiple of, whatever the autoencoder
# What the pipeline writes before every prompt that it draws, and before none that it avoids.
INSTRUCTION = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default


class Sana(FlowFamily):
    """Transformer with linear attention, told by Gemma 2, over the few latents of an autoencoder that is no Gaussian.

    Its scheduler is a solver for diffusion that was given the noise levels of flow matching.
    """

    name = "sana"
    title = "Sana"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    guidance = 4.5
    patch = 1
    Pipeline = writing_out(SanaPipeline)
    Scheduler = DPMSolverMultistepScheduler
    schedulers = {"dpm++": DPMSolverMultistepScheduler}
    sampler = "dpm++"
    Autoencoder = AutoencoderDC
    denoiser = ("transformer", SanaTransformer2DModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0"),
        "feed_forward": (
            "ff.conv_inverted",
            "ff.conv_point",
        ),  # 1x1; the convolution between sees one channel at a time
        "modulation": ("time_embed.linear",),
    }
    kept = {False: (33e6, 1475), True: (6e6, 122)}
    encoders = {"text_encoder": Encoder(Gemma2Model, GemmaTokenizer, "gemma2_2b")}

    @classmethod
    def latent_side(cls, vae: Mapping[str, Any]) -> int:
        return 2 ** (len(vae["encoder_block_out_channels"]) - 1)

    @property
    def multiple(self) -> int:
        return max(self.vae_factor, ROUGHEST)

    def shift(self, latents: Tensor) -> float:
        return self.scheduler.config.flow_shift

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, object]:
        """Pictures are drawn in the size that is asked for, and not in one near it and cut."""
        return super().guided(guidance, negative, count) | {"use_resolution_binning": False}

    def noise_level(self, told: Mapping[str, Any]) -> Tensor:
        return told["timestep"] / (1000 * self.network.config.timestep_scale)

    def embed_prompts(self, prompts: list[str]) -> Condition:
        tokens, mask, _, _ = self._pipe.encode_prompt(
            prompts, do_classifier_free_guidance=False, device=self.device, complex_human_instruction=INSTRUCTION
        )
        return Condition(tokens, mask=mask.bool())

    def encode(self, pixels: Tensor) -> Posterior:
        with torch.no_grad():
            mean = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent.float()
        return Posterior(mean * self.vae.config.scaling_factor, torch.zeros_like(mean))

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype, mask = self.dtype, condition.mask
        assert mask is not None
        predicted = self.network(
            hidden_states=x_t.to(dtype),
            timestep=t * self.network.config.timestep_scale,
            encoder_hidden_states=condition.tokens.to(dtype),
            encoder_attention_mask=mask.long(),
            return_dict=False,
        )[0]
        return predicted[:, : x_t.shape[1]]  # a second half, if there is one, would be a variance

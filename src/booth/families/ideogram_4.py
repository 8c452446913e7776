"""Ideogram 4, whose guidance comes from a second transformer that is told no prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKLFlux2, Ideogram4Pipeline, Ideogram4Transformer2DModel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer, Qwen3VLModel

from booth.core.family import Condition, Posterior
from booth.core.noising import FlowMatch, Noising
from booth.families.flow import FlowFamily, no_negative
from booth.families.multi_vector import writing_out, written_out
from booth.families.text_encoder import Encoder
from booth.registry import TIMESTEPS

SPREAD = 1.5  # of the logits of the noise levels that the pipeline draws at; their mean grows with the picture
MIDDLE = 512 * 512  # pixels of the picture at which that mean is 0


class Ideogram4(FlowFamily):
    """Transformer over one sequence of what 13 layers of Qwen3-VL make of a prompt and of patches of FLUX.2's latents.

    It predicts the data less the noise, at times that run from the noise to the data. What is taught is the transformer
    that reads the prompt; its twin, from which guidance leads away, is drawn with as it is.
    """

    name = "ideogram_4"
    title = "Ideogram 4"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    guidance = 7.0
    patch = 1  # its latents are patches
    latents = 64
    Pipeline = writing_out(Ideogram4Pipeline)
    Autoencoder = AutoencoderKLFlux2
    denoiser = ("transformer", Ideogram4Transformer2DModel)
    beside = {"unconditional_transformer": Ideogram4Transformer2DModel}
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0"),
        "feed_forward": ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3"),
        "modulation": ("adaln_modulation",),
    }
    kept = {False: (336e6, 20470), True: (27e6, 1655)}  # with 64 tokens
    encoders = {"text_encoder": Encoder(Qwen3VLModel, AutoTokenizer, "qwen3vl_8b")}

    @classmethod
    def latent_side(cls, vae: Mapping[str, Any]) -> int:
        return 2 ** len(vae["block_out_channels"])

    @property
    def vae_factor(self) -> int:
        return self._pipe.vae_scale_factor * self._pipe.patch_size

    @property
    def prompt_limit(self) -> int | None:
        """None: the length that its pipeline is told is the one that it pads to."""
        return None

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, object]:
        return no_negative(self.title, guidance, negative) | {"guidance_schedule": None}

    def make_noising(self) -> Noising:
        return FlowMatch(TIMESTEPS["logit_normal"].model_validate({"std": SPREAD}), self.shift)

    def shift(self, latents: Tensor) -> float:
        pixels = self.patches(latents) * self.vae_factor**2
        return super().shift(latents) * math.sqrt(pixels / MIDDLE)

    def noise_level(self, told: Mapping[str, Any]) -> Tensor:
        return 1 - told["timestep"]

    def embed_prompts(self, prompts: list[str]) -> Condition:
        """The pipeline pads on the left, and lays the picture's places out with it; here each prompt stands alone."""
        rows = [self._features(prompt) for prompt in prompts]
        masks = [torch.ones(len(row), dtype=torch.bool, device=row.device) for row in rows]
        return Condition(pad_sequence(rows, batch_first=True), mask=pad_sequence(masks, batch_first=True))

    def _features(self, prompt: str) -> Tensor:
        """(L, D) what the layers make of one prompt."""
        asked = [{"role": "user", "content": [{"type": "text", "text": written_out(prompt, self.tokenizer)}]}]
        text = self.tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        length = len(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return self._pipe.encode_prompt(prompt, 0, 0, length, self.device)[0][0]

    def encode(self, pixels: Tensor) -> Posterior:
        """(B, 4C, h/2, w/2): patches whose channels go on fastest, as their mean and deviation are kept."""
        vae = self.vae
        with torch.no_grad():
            dist = vae.encode(pixels.to(self.device, vae.dtype)).latent_dist
        usual = vae.bn.running_mean.view(1, -1, 1, 1).float()
        spread = torch.sqrt(vae.bn.running_var.view(1, -1, 1, 1).float() + vae.config.batch_norm_eps)
        mean, std = _patches(dist.mean.float()), _patches(dist.std.float())
        return Posterior((mean - usual) / spread, std / spread)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        dtype, mask = self.dtype, condition.mask
        assert mask is not None
        (rows, channels), (height, width), words = x_t.shape[:2], x_t.shape[2:], mask.shape[1]
        lengths = mask.sum(1).tolist()
        places, segments, roles = self._layout(lengths, words, height, width, x_t.device)
        tokens = condition.tokens.to(dtype)
        picture = x_t.to(dtype).flatten(2).transpose(1, 2)
        predicted = self.network(
            hidden_states=torch.cat([picture.new_zeros(rows, words, channels), picture], dim=1),
            timestep=(1 - t / 1000).to(dtype),
            encoder_hidden_states=torch.cat([tokens, tokens.new_zeros(rows, height * width, tokens.shape[-1])], dim=1),
            position_ids=places,
            segment_ids=segments,
            indicator=roles,
            return_dict=False,
        )[0]
        return -predicted[:, words:].transpose(1, 2).reshape(x_t.shape)

    @staticmethod
    def _layout(lengths: list[int], words: int, height: int, width: int, device: torch.device) -> tuple[Tensor, ...]:
        """The pipeline's places, segments and roles, with the padding behind the words instead of before them."""
        found = Ideogram4Pipeline._prepare_ids(lengths, height, width, words, device)
        for row, length in enumerate(lengths):
            for values in found:
                values[row, :words] = values[row, :words].roll(length - words, 0)
        return found


def _patches(latents: Tensor) -> Tensor:
    """(B, C, h, w) as (B, 4C, h/2, w/2)."""
    b, c, h, w = latents.shape
    return latents.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(b, 4 * c, h // 2, w // 2)

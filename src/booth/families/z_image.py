"""Z-Image, and Z-Image-Turbo, which was distilled from it (2511.22699)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import ZImagePipeline, ZImageTransformer2DModel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import Qwen2Tokenizer, Qwen3Model

from booth.core.family import Condition
from booth.families.flow import FlowFamily
from booth.families.multi_vector import writing_out
from booth.families.text_encoder import Encoder


class ZImage(FlowFamily):
    """Transformer over one sequence of the tokens of Qwen3 and patches, in FLUX.1's latents."""

    name = "z_image"
    title = "Z-Image"
    offers = ("token_tables", "linears", "denoiser", "text_encoders")
    Pipeline = writing_out(ZImagePipeline)
    denoiser = ("transformer", ZImageTransformer2DModel)
    linears = {
        "attention": ("to_q", "to_k", "to_v", "to_out.0"),
        "feed_forward": ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3"),
        "modulation": ("adaLN_modulation.0",),
    }
    kept = {False: (257e6, 15734), True: (17e6, 1001)}  # with 64 tokens
    encoders = {"text_encoder": Encoder(Qwen3Model, Qwen2Tokenizer, "qwen3_4b")}

    @property
    def largest(self) -> int:
        """As far as its tables of positions go, which are of frames, rows and columns."""
        return min(self.network.config.axes_lens[1:]) * self.multiple

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, object]:
        """The pipeline's scale is ours less one: 0 is no guidance to it."""
        return {"guidance_scale": guidance - 1, "negative_prompt": [negative] * count}

    def noise_level(self, told: Mapping[str, Any]) -> Tensor:
        return 1 - told["t"]

    def embed_prompts(self, prompts: list[str]) -> Condition:
        rows = self._pipe.encode_prompt(prompts, self.device, do_classifier_free_guidance=False)[0]
        masks = [torch.ones(len(row), dtype=torch.bool, device=row.device) for row in rows]
        return Condition(pad_sequence(rows, batch_first=True), mask=pad_sequence(masks, batch_first=True))

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The transformer is told how far denoising is, and predicts the way from noise to picture."""
        dtype, mask = self.dtype, condition.mask
        assert mask is not None
        predicted = self.network(
            list(x_t.to(dtype).unsqueeze(2).unbind(0)),
            (1000 - t) / 1000,
            [row[present] for row, present in zip(condition.tokens.to(dtype), mask, strict=True)],
            return_dict=False,
        )[0]
        return -torch.stack(predicted).squeeze(2)

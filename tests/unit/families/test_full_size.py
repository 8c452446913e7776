"""The real architectures at full size, on the meta device: counts that are published, and where adapters go."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from torch import nn

from booth.families.unet import attention_sites
from booth.registry import FAMILIES

SD = {"sample_size": 64, "cross_attention_dim": 768}
XL = {
    "sample_size": 128,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
FLUX = {"guidance_embeds": True}
SHAPES = {
    "stable_diffusion": {
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 768),
        "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight": (10240, 1280),
    },
    "stable_diffusion_xl": {
        "down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_v.weight": (1280, 2048),
        "add_embedding.linear_1.weight": (1280, 2816),
    },
    "flux": {
        "transformer_blocks.18.attn.add_q_proj.weight": (3072, 3072),
        "single_transformer_blocks.37.proj_mlp.weight": (12288, 3072),
        "time_text_embed.guidance_embedder.linear_1.weight": (3072, 256),
    },
}


def test_the_attentions_of_stable_diffusion_xl_have_the_widths_that_hypernetworks_are_made_for() -> None:
    with torch.device("meta"):
        sites = attention_sites(UNet2DConditionModel(**XL))
    # 70 transformer blocks, none on the first level of 320 features, which so has no network
    assert Counter(site.width for site in sites) == {2048: 70, 640: 10, 1280: 60}


@pytest.mark.parametrize(
    ("family", "kind", "config", "parameters", "groups"),
    [
        # 16 and 70 transformer blocks in 16 and 11 transformers: the 192 and 722 layers of a kohya LoRA; 22 and 17
        # residual blocks of two convolutions, of which 14 and 11 change the width, and one between levels
        ("stable_diffusion", UNet2DConditionModel, SD, 859_520_964, (128, 32, 22 * 2 + 6, 32, 22 + 14, 4)),
        ("stable_diffusion_xl", UNet2DConditionModel, XL, 2_567_463_684, (560, 140, 17 * 2 + 4, 22, 17 + 11, 4)),
        # 19 double-stream and 38 single-stream blocks; the last layer is called as the latter's way out
        (
            "flux",
            FluxTransformer2DModel,
            FLUX,
            11_901_408_320,
            (19 * 8 + 38 * 3, 19 * 4 + 38, 38 + 1, 19 * 2 + 38, 2 + 3 * 2),
        ),
    ],
)
def test_the_full_size_denoiser_has_the_published_parameters(
    family: str, kind: Any, config: dict[str, Any], parameters: int, groups: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        model = kind(**config)
    assert FAMILIES[family].denoiser[1] is kind
    assert sum(p.numel() for p in model.parameters()) == parameters
    state = model.state_dict()
    assert {name: tuple(state[name].shape) for name in SHAPES[family]} == SHAPES[family]
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    for suffixes, count in zip(FAMILIES[family].linears.values(), groups, strict=True):
        assert sum(any(f".{n}".endswith(f".{s}") for s in suffixes) for n in layers) == count

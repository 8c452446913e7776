"""What autograd keeps of a published denoiser for the backward pass: the numbers that families have as `kept`.

    python benchmarks/kept_activations.py --out results/kept_activations.json

The denoiser is made by its published configuration on torch's meta device, where nothing is computed and no memory is
taken, and predicts once for a picture of 512 and one of 1024 pixels a side. With fused attention what is kept grows
linearly with the pixels. All weights are trained, which keeps the most. With gradient checkpointing the inputs of
blocks are kept, and while a block is computed again all that it keeps, of which the largest counts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor
from torch.nn import functional as F

from booth.core.family import Condition
from booth.families.quiet import hush
from booth.registry import FAMILIES

SIDES = (512, 1024)


@dataclass(frozen=True)
class Published:
    """A base that is known for its family: the configuration of its denoiser, and what this is told of a prompt."""

    base: str
    latents: tuple[int, int]  # channels, and pixels a side that one stands for
    tokens: tuple[int, int]  # how many a prompt becomes, or is filled up to, and their width
    pooled: int = 0  # width of the vector beside them
    layers: int = 0  # of the text encoder that each token is told by, where they stay apart
    config: dict[str, Any] = field(default_factory=dict)  # what is not the class's default


BASES = {
    "stable_diffusion": Published(
        "stable-diffusion-v1-5", (4, 8), (77, 768), config={"sample_size": 64, "cross_attention_dim": 768}
    ),
    "stable_diffusion_xl": Published(
        *("stable-diffusion-xl-base-1.0", (4, 8), (77, 2048), 1280),
        config={
            "sample_size": 128,
            "cross_attention_dim": 2048,
            "attention_head_dim": (5, 10, 20),
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
    ),
    "stable_diffusion_3": Published(
        *("stable-diffusion-3-medium", (16, 8), (333, 4096), 2048),
        config={
            "sample_size": 128,
            "num_layers": 24,
            "num_attention_heads": 24,
            "joint_attention_dim": 4096,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 192,
        },
    ),
    "flux": Published("FLUX.1-dev", (16, 8), (512, 4096), 768, config={"guidance_embeds": True}),
    "flux_2_klein": Published(
        *("FLUX.2-klein-4B", (128, 16), (512, 7680)),
        config={
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
    ),
    "qwen_image": Published("Qwen-Image", (16, 8), (64, 3584)),
    "z_image": Published("Z-Image", (16, 8), (64, 2560)),
    "lumina_2": Published("Lumina-Image-2.0", (16, 8), (256, 2304), config={"cap_feat_dim": 2304}),
    "chroma": Published("Chroma1-HD", (16, 8), (512, 4096)),
    "sana": Published("Sana_1600M_1024px", (32, 32), (300, 2304)),
    "krea_2": Published("Krea 2, by the defaults of its class", (16, 8), (512, 2560), layers=12),
    "ernie_image": Published("ERNIE-Image, by the defaults of its class", (128, 16), (64, 2560)),
    "flux_2": Published("FLUX.2-dev", (128, 16), (512, 15360)),
    "ideogram_4": Published("Ideogram 4, by the defaults of its class", (128, 16), (64, 53248)),
    "qwen_image_2_1": Published("Qwen-Image-2.1, by the defaults of its class", (64, 16), (64, 4096)),
}


class FusedAttention(torch.autograd.Function):
    """What fused attention keeps: its inputs and its output, and no matrix of weights."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        query, key, value, _ = ctx.saved_tensors
        return query, key, value


@contextmanager
def fused() -> Generator[None]:
    """Within this context attention is fused on the meta device, and autocast and real masks may be named there."""
    plain, autocast, where = F.scaled_dot_product_attention, torch.autocast, torch.where

    def where_meta(mask: Tensor, *both: Any, **options: Any) -> Tensor:
        meta = any(isinstance(each, Tensor) and each.is_meta for each in both)
        return where(mask.to("meta") if meta else mask, *both, **options)

    torch.where = where_meta
    torch.autocast = lambda *_, **__: nullcontext()
    F.scaled_dot_product_attention = lambda query, key, value, *_, **__: FusedAttention.apply(query, key, value)
    try:
        yield
    finally:
        F.scaled_dot_product_attention, torch.autocast, torch.where = plain, autocast, where


def bare(family: str) -> Any:
    """A family around the published denoiser on the meta device, and around nothing else: it can predict."""
    kind: Any = FAMILIES[family]
    name, network = kind.denoiser
    with torch.device("meta"):
        made = network(**BASES[family].config)
    pipe, model = object.__new__(kind.Pipeline), object.__new__(kind)
    pipe.__dict__["vae_scale_factor"] = BASES[family].latents[1]
    model.__dict__.update(_parts={name: made}, _controls={}, inpaints=False, _pipe=pipe)
    return model


class Keeper:
    """Counts the values of the tensors that autograd keeps, each storage once and no weights."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.seen = {p.untyped_storage()._cdata for p in network.parameters()}
        self.values = 0
        self._alive: list[Tensor] = []  # lest another tensor gets the place of one that was counted

    def keep(self, tensor: Tensor) -> Tensor:
        """Count a tensor, as a hook on what is saved."""
        storage = tensor.untyped_storage()._cdata
        if storage not in self.seen:
            self.seen.add(storage)
            self._alive.append(tensor)
            self.values += tensor.numel()
        return tensor


def counted(model: Any, side: int, checkpointing: bool) -> int:
    """How many values are kept of one row of pictures with this side, at the moment when they are most."""
    published, network = BASES[model.name], model.network
    (channels, factor), (length, width) = published.latents, published.tokens
    latents = torch.empty(1, channels, side // factor, side // factor, device="meta")
    condition = Condition(
        torch.empty(1, length, *([published.layers] if published.layers else []), width, device="meta"),
        torch.empty(1, published.pooled, device="meta") if published.pooled else None,
        mask=torch.ones(1, length, dtype=torch.bool),  # real, since some networks cut sequences by it
    )
    (network.enable_gradient_checkpointing if checkpointing else network.disable_gradient_checkpointing)()
    keeper, recomputed = Keeper(network), [0]
    hooks = torch.autograd.graph.saved_tensors_hooks

    def block(called: Callable[..., Any], *inputs: Any, **_: Any) -> Any:
        """A block of which the inputs are kept for good, and the rest for a while."""
        for tensor in inputs:
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                keeper.keep(tensor)
        own = Keeper(network)
        own.seen |= keeper.seen
        with hooks(own.keep, lambda tensor: tensor):
            output = called(*inputs)
        recomputed.append(own.values)
        return output

    plain, torch.utils.checkpoint.checkpoint = torch.utils.checkpoint.checkpoint, block
    try:
        with fused(), hooks(keeper.keep, lambda tensor: tensor):
            loss = model.predict(latents, torch.ones(1, device="meta"), condition).pow(2).mean()
    finally:
        torch.utils.checkpoint.checkpoint = plain
    assert loss.requires_grad
    return keeper.values + max(recomputed)


def measured(family: str) -> dict[str, Any]:
    """A family's row: values kept whatever the picture, and for each pixel of it, without and with checkpointing."""
    model = bare(family)
    row: dict[str, Any] = {"base": BASES[family].base, "values": sum(p.numel() for p in model.network.parameters())}
    for name, checkpointing in (("plain", False), ("checkpointing", True)):
        small, large = (counted(model, side, checkpointing) for side in SIDES)
        per_pixel = (large - small) / (SIDES[1] ** 2 - SIDES[0] ** 2)
        row[name] = {"fixed": small - per_pixel * SIDES[0] ** 2, "per_pixel": per_pixel}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=list(BASES), action="append", help="one of them; none = all")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    hush()
    rows: dict[str, Any] = {}
    for family in options.family or BASES:
        rows[family] = measured(family)
        known = FAMILIES[family].kept
        plain, less = (
            f"({row['fixed'] / 1e6:.0f}e6, {row['per_pixel']:.0f})" for row in list(rows[family].values())[2:]
        )
        print(f"{family}: {rows[family]['values']:,} values, {{False: {plain}, True: {less}}}, known: {known}")
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

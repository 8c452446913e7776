"""The embedded base's autoencoder: 128x128 pixels to 8x8 latents.

Sixteen-fold reduction, so that a picture of 128 pixels costs the denoiser the same 64 tokens as one of 64 pixels did.
It is set to a linear code (`linear_code.py`) and then learned (`autoencoder_training.py`); see
docs/decisions/autoencoder.md.
"""

from __future__ import annotations

from typing import cast

from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import FloatTensor, Tensor, nn

SIDE = 128  # pixels of a picture
CHANNELS = 64
WIDTHS = (24, 48, 96, 128, 192)  # of the levels; the first three hold the pixels of 2x2 and 4x4 blocks as they are
GROUPS = 4
DEVIATION = 0.05  # of the posterior, against latents of deviation 1


def new_autoencoder(channels: int = CHANNELS, widths: tuple[int, ...] = WIDTHS, side: int = SIDE) -> AutoencoderKL:
    """A freshly initialised autoencoder that reduces each side 2 ** (levels - 1) times."""
    levels = len(widths)
    return AutoencoderKL(  # whose annotations of what there is one of a level say that there is one level
        down_block_types=cast(tuple[str], ("DownEncoderBlock2D",) * levels),
        up_block_types=cast(tuple[str], ("UpDecoderBlock2D",) * levels),
        block_out_channels=cast(tuple[int], widths),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=GROUPS,
        sample_size=side,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=1.0,
        shift_factor=None,
    )


def reduction(vae: AutoencoderKL) -> int:
    """Pixels along each side that one latent stands for."""
    return 2 ** (len(vae.config["block_out_channels"]) - 1)


def encode(vae: AutoencoderKL, pixels: Tensor) -> DiagonalGaussianDistribution:
    """The distribution of the latents (B, C, h, w) of pictures (B, 3, H, W) in [-1, 1]."""
    return cast(AutoencoderKLOutput, vae.encode(pixels)).latent_dist  # a tuple only if one is asked for


def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """The pictures (B, 3, H, W) that latents (B, C, h, w) stand for."""
    decoded = vae.decode(cast(FloatTensor, latents))  # annotated as of PyTorch's former class
    return cast(DecoderOutput, decoded).sample  # a tuple only if one is asked for


def move(vae: AutoencoderKL, device: str) -> None:
    """Put an autoencoder there."""
    cast(nn.Module, vae).to(device)  # diffusers' own `to` is annotated as if it took its self from the caller

"""The embedded base's autoencoder: 128x128 pixels to 8x8 latents.

Sixteen-fold reduction, so that a picture of 128 pixels costs the denoiser the same 64 tokens as one of 64 pixels did.
It is set to a linear code (`linear_code.py`) and then learned (`autoencoder_training.py`); see
docs/decisions/autoencoder.md.
"""

from __future__ import annotations

from diffusers import AutoencoderKL

SIDE = 128  # pixels of a picture
CHANNELS = 64
WIDTHS = (24, 48, 96, 128, 192)  # of the levels; the first three hold the pixels of 2x2 and 4x4 blocks as they are
GROUPS = 4
DEVIATION = 0.05  # of the posterior, against latents of deviation 1


def new_autoencoder(channels: int = CHANNELS, widths: tuple[int, ...] = WIDTHS, side: int = SIDE) -> AutoencoderKL:
    """A freshly initialised autoencoder that reduces each side 2 ** (levels - 1) times."""
    levels = len(widths)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=widths,
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
    return 2 ** (len(vae.config.block_out_channels) - 1)

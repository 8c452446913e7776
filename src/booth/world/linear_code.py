"""What an autoencoder starts from: a linear code of patches, written into its weights, and a smooth way back.

Two cores cannot find a code from nothing within hours. The best linear one, the principal components of patches, can be
computed, and an ordinary `AutoencoderKL` can be set to compute it.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from booth.world.autoencoder import DEVIATION, GROUPS, encode, reduction


def _components(values: Tensor, keep: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (D,), the `keep` strongest principal directions (keep, D) and their deviations (keep,) of rows (N, D)."""
    mean = values.mean(0)
    variances, vectors = torch.linalg.eigh(torch.cov((values - mean).T))
    return mean, vectors[:, -keep:].flip(1).T.contiguous(), variances[-keep:].flip(0).clamp(min=1e-12).sqrt()


def _blocks(x: Tensor) -> Tensor:
    """The 2x2 blocks of (B, C, H, W) as channels (B, 4C, H/2, W/2), in the order (row, column, channel)."""
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


@torch.no_grad()
def set_linear_encoder(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Make the encoder compute the principal components of patches of `pictures` (N, 3, H, W), in [-1, 1].

    Each stride-2 convolution sees 2x2 blocks of the one before it. Blocks that fit into a level's channels are carried
    as they are; where there are more, their principal components are kept, and the last one yields the latents: each
    divided by the square root of its deviation, half-way to white, and all by one number, so that latents have
    deviation 1 on the whole while coarse ones stay stronger than fine ones.

    The last convolution of each residual branch is silenced; the branches learn. The last normalisation and SiLU are
    made all but linear: two constant channels of opposite sign in each group fix its statistics, and a large bias puts
    the signal on the straight part of SiLU.
    """
    encoder: Any = vae.encoder
    latents = vae.config["latent_channels"]
    for name, module in encoder.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if name.endswith("conv1"):
            nn.init.kaiming_uniform_(module.weight, a=5**0.5)
            module.bias.zero_()  # type: ignore[union-attr]
        else:
            module.weight.zero_()
            module.bias.zero_()  # type: ignore[union-attr]
    encoder.conv_in.weight[:3, :, 1, 1] = torch.eye(3)
    carried, depth = pictures, 3
    levels = len(encoder.down_blocks)
    for i, block in enumerate(encoder.down_blocks):
        shortcut = block.resnets[0].conv_shortcut
        if i and shortcut is not None and i < levels - 1:
            width = min(shortcut.weight.shape[0], shortcut.weight.shape[1])
            shortcut.weight[:width, :width, 0, 0] = torch.eye(width)
        if i == levels - 1:
            break
        blocks = _blocks(carried)  # (N, 4 depth, h, w)
        conv = block.downsamplers[0].conv
        last = i == levels - 2
        keep = latents if last else min(4 * depth, conv.weight.shape[0])
        rows, offset = torch.eye(4 * depth), torch.zeros(4 * depth)
        if keep < 4 * depth or last:
            flat = blocks.permute(0, 2, 3, 1).reshape(-1, 4 * depth)
            mean, rows, deviations = _components(flat, keep)
            if last:
                rows = rows / deviations.sqrt()[:, None] / deviations.mean().sqrt()
            offset = -rows @ mean
        conv.weight.zero_()
        for a, b, c in product(range(2), range(2), range(depth)):
            conv.weight[:keep, c, a, b] = rows[:, (2 * a + b) * depth + c]
        conv.bias[:keep] = offset
        carried, depth = torch.einsum("kc,bchw->bkhw", rows, blocks) + offset[:, None, None], keep
    _pass_through_norm(encoder, latents)


def _pass_through_norm(encoder: Any, latents: int) -> None:
    """Carry the code's channels through the last normalisation, SiLU and convolution, almost unchanged.

    Each goes in twice, with either sign, since silu(x) - silu(-x) = x.
    """
    small = 0.05  # against the two constants of each group, which fix its statistics
    shortcut = encoder.down_blocks[-1].resnets[0].conv_shortcut
    width = shortcut.weight.shape[0] // GROUPS
    for group in range(GROUPS):
        shortcut.bias[group * width], shortcut.bias[group * width + 1] = 1.0, -1.0
    deviation = (2 / width) ** 0.5  # of a group whose two constants are +1 and -1
    encoder.conv_norm_out.weight.fill_(1)
    encoder.conv_norm_out.bias.zero_()
    for k in range(latents):
        place = (k % GROUPS) * width + 2 + 2 * (k // GROUPS)
        for side, sign in enumerate((1.0, -1.0)):
            shortcut.weight[place + side, k, 0, 0] = sign * small
            encoder.conv_out.weight[k, place + side, 1, 1] = sign * deviation / small
    encoder.conv_out.bias[latents:] = 2 * float(np.log(DEVIATION))


@torch.no_grad()
def set_smooth_decoder(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Make the decoder begin as a smooth enlargement of the colours that latents stand for.

    Every residual branch ends in zeros, upsampling blurs by [1 2 1] / 4 along each axis, and latents are carried to the
    last level, where the mean colour of their patches is read off: a start from which detail is learned.
    """
    decoder: Any = vae.decoder
    latents = vae.config["latent_channels"]
    for name, module in decoder.named_modules():
        if isinstance(module, nn.Conv2d) and name.endswith("conv2"):
            module.weight.zero_()
            module.bias.zero_()  # type: ignore[union-attr]
    blur = torch.tensor([1.0, 2.0, 1.0]) / 4
    blur = blur[:, None] * blur[None, :]
    _carry(decoder.conv_in, latents, None)
    kept = latents
    for block in decoder.up_blocks[:-1]:
        if block.resnets[0].conv_shortcut is not None:
            kept = min(kept, block.resnets[0].conv_shortcut.out_channels)
            _carry(block.resnets[0].conv_shortcut, kept, None)
        _carry(block.upsamplers[0].conv, kept, blur)
    codes = encode(vae, pictures).mean[:, :kept]  # (N, kept, h, w)
    colours = F.avg_pool2d(pictures, reduction(vae))  # (N, 3, h, w)
    flat = torch.cat([codes, torch.ones_like(codes[:, :1])], 1).permute(0, 2, 3, 1).flatten(0, 2)
    solved = torch.linalg.lstsq(flat, colours.permute(0, 2, 3, 1).flatten(0, 2)).solution  # (kept + 1, 3)
    small = 0.2  # against the two constants of each group, which fix its statistics
    shortcut, width = decoder.up_blocks[-1].resnets[0].conv_shortcut, decoder.conv_norm_out.num_channels // GROUPS
    deviation = (2 / width) ** 0.5
    shortcut.weight.zero_()
    shortcut.bias.zero_()
    for group in range(GROUPS):
        shortcut.bias[group * width], shortcut.bias[group * width + 1] = 1.0, -1.0
    decoder.conv_out.weight.mul_(0.1)
    decoder.conv_out.bias.zero_()
    for c in range(3):
        for side, sign in enumerate((1.0, -1.0)):
            place = c * width + 2 + side
            shortcut.weight[place, :kept, 0, 0] = sign * small * solved[:kept, c]
            shortcut.bias[place] = sign * small * solved[kept, c]
            decoder.conv_out.weight[:, place] = 0
            decoder.conv_out.weight[c, place, 1, 1] = sign * deviation / small


def _carry(conv: Any, channels: int, kernel: Tensor | None) -> None:
    """Let a convolution pass its first channels on, through `kernel` (3, 3) if one is given."""
    conv.weight[:channels] = 0
    conv.bias[:channels] = 0
    for k in range(channels):
        if kernel is None:
            conv.weight[k, k, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = 1.0
        else:
            conv.weight[k, k] = kernel

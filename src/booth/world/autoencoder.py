"""The embedded base's autoencoder: 128x128 pixels to 8x8 latents, set to a linear code and then learned.

Sixteen-fold reduction, so that a picture of 128 pixels costs the denoiser the same 64 tokens as one of 64 pixels did.
The encoder starts as the best linear code of its patches (their principal components), written into the weights of an
ordinary `AutoencoderKL`, because two cores cannot find a code from nothing within hours; from there encoder and decoder
learn together against pixels and a frozen network's features. At last the encoder is kept and the decoder alone goes on
against a critic (`sharpen_decoder`), so that what a denoiser has learned of the latents stays true. See
docs/decisions/autoencoder.md.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from booth.core.rng import Rng
from booth.world.fit import fit
from booth.world.perceptual import Critic, PerceptualLoss, distance
from booth.world.pixels import to_unit

SIDE = 128  # pixels of a picture
CHANNELS = 64
WIDTHS = (24, 48, 96, 128, 192)  # of the levels; the first three hold the pixels of 2x2 and 4x4 blocks as they are
GROUPS = 4
DEVIATION = 0.05  # of the posterior, against latents of deviation 1
ROWS = 6  # crops a step
ADVERSARIAL = 0.3  # pull of the critic at the decoder's last layer, against that of pixels and features together


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
    latents = vae.config.latent_channels
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
    latents = vae.config.latent_channels
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
    codes = vae.encode(pictures).latent_dist.mean[:, :kept]  # (N, kept, h, w)
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


def crops(diet: list[np.ndarray], rng: Rng, rows: int, size: int, cell: int) -> tuple[Tensor, np.ndarray]:
    """Random crops (rows, 3, size, size) in [-1, 1], mirrored or not, and the pool that each row comes from."""
    pools, x = np.arange(rows) % len(diet), []
    for row, pool in enumerate(pools):
        index = int(rng.integers(f"row{row}", len(diet[pool]), 1))
        steps = (diet[pool].shape[1] - size) // cell + 1
        top, left = (rng.integers(f"crop{row}", steps, 2) * cell).tolist()
        x.append(diet[pool][index][top : top + size, left : left + size])
    target = to_unit(np.stack(x))
    flip = rng.uniform("flip", rows) < 0.5
    target[flip] = target[flip].flip(-1)
    return target, pools


def train_autoencoder(
    vae: AutoencoderKL, diet: list[np.ndarray], *, steps: int, out: Path, name: str = "autoencoder", device: str = "cpu"
) -> AutoencoderKL:
    """Learn on equal shares of each pool of `diet`, uint8 (N, side, side, 3): first the decoder, then both halves.

    For the first fifth of the steps the encoder stays the linear code and the decoder learns to undo it, by squares,
    on crops of half the side. Then both learn, by pixels, edges and features; on whole pictures in every third step and
    in the last tenth.
    """
    cell, side = reduction(vae), diet[0].shape[1]
    sample = to_unit(np.concatenate([pool[:500] for pool in diet]))
    set_linear_encoder(vae, sample)
    set_smooth_decoder(vae, sample[::10])
    vae.to(device).encoder.requires_grad_(False)

    def undo(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = Rng(0, step)
        target, pools = crops(diet, rng, ROWS, side // 2, cell)
        target = target.to(device)
        with torch.no_grad():
            z = vae.encode(target).latent_dist.mean
        error = vae.decode(z + DEVIATION * rng.normal("posterior", z)).sample.float() - target
        return error.pow(2).mean() + 0.1 * error.abs().mean(), _psnrs(error, pools)

    alone = steps // 5
    fit(f"{name}-decoder", vae.decoder, undo, steps=alone, out=out, learning_rate=4e-4, weight_decay=0, device=device)
    vae.encoder.requires_grad_(True)
    perceptual = PerceptualLoss().to(device)

    def learn(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = Rng(1, step)
        # Normalisation over a crop sees less than over a picture, so both must be seen.
        whole = step % 3 == 2 or step > 0.9 * (steps - alone)
        target, pools = crops(diet, rng, len(diet) if whole else ROWS, side if whole else side // 2, cell)
        target = target.to(device)
        z = vae.encode(target).latent_dist.mean.float()
        deviation = DEVIATION + 0.1 * rng.uniform("deviation", len(z))[:, None, None, None].to(device) ** 2
        y = vae.decode(z + deviation * rng.normal("posterior", z)).sample.float()
        error, far = y - target, perceptual(y, target)
        log = _psnrs(error, pools) | {"perceptual": far.item(), "latents": z.detach().std().item()}
        return _miss(error) + 0.1 * far + 1e-3 * (z.pow(2).mean() - 1).pow(2), log

    fit(name, vae, learn, steps=steps - alone, out=out, learning_rate=4e-4, weight_decay=0, device=device)
    return vae.eval()


def sharpen_decoder(
    vae: AutoencoderKL, diet: list[np.ndarray], *, steps: int, out: Path, name: str = "sharpened", device: str = "cpu"
) -> AutoencoderKL:
    """Let the decoder go on alone, on whole pictures, against pixels, features and a critic of patches.

    The critic learns in the same steps; what the decoder is told of it is scaled so that both pull equally hard at the
    last layer (Esser et al., 2012.09841), times `ADVERSARIAL`. Latents are noised more than the posterior has
    them, because those that a denoiser draws are never quite right.
    """
    cell, side = reduction(vae), diet[0].shape[1]
    vae.to(device).encoder.requires_grad_(False)
    perceptual = PerceptualLoss().to(device)
    torch.manual_seed(4)
    learners = nn.ModuleDict({"decoder": vae.decoder, "critic": Critic().to(device)})
    critic = cast(Critic, learners["critic"])
    last = vae.decoder.conv_out.weight

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = Rng(3, step)
        target, pools = crops(diet, rng, len(diet), side, cell)
        target = target.to(device)
        with torch.no_grad():
            z = vae.encode(target).latent_dist.mean.float()
            real = perceptual.features(target)
        deviation = DEVIATION + 0.1 * rng.uniform("deviation", len(z))[:, None, None, None].to(device) ** 2
        y = vae.decode(z + deviation * rng.normal("posterior", z)).sample.float()
        error, fake = y - target, perceptual.features(y)
        kept = _miss(error) + 0.1 * distance(fake, real)
        doubt = critic.doubt(fake)
        pulls = [torch.autograd.grad(x, last, retain_graph=True)[0].norm() for x in (kept, doubt)]
        weight = ADVERSARIAL * (pulls[0] / (pulls[1] + 1e-4)).clamp(max=100).detach()
        told = critic.loss(real, fake)
        log = _psnrs(error, pools) | {"doubt": doubt.item(), "critic": told.item(), "weight": weight.item()}
        return kept + weight * doubt + told, log

    fit(name, learners, loss, steps=steps, out=out, learning_rate=2e-4, weight_decay=0, device=device)
    vae.encoder.requires_grad_(True)
    return vae.eval()


def _miss(error: Tensor) -> Tensor:
    """What pixels and the steps between neighbours are off."""
    steps = (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()) / 2
    return error.abs().mean() + 2 * error.pow(2).mean() + 0.5 * steps


def _psnrs(error: Tensor, pools: np.ndarray) -> dict[str, float]:
    square = error.detach().pow(2).flatten(1).mean(1)
    return {f"psnr{i}": float((-10 * torch.log10(square[pools == i] / 4)).mean()) for i in np.unique(pools)}

"""Compare autoencoders for the embedded base: by what they keep, and by what a denoiser makes of their latents.

    python benchmarks/autoencoders.py --work runs/autoencoders --photographs DIR --test-photographs DIR

Each autoencoder learns for the same number of steps from the same pictures; then a denoiser of one and the same width
learns from its latents for the same number of pictures. Kept are decibels, the share of strong edges and edge F1 on
unseen renders, on the designer whom nobody learns from, and on photographs; a drawing is measured by the distance of
its features from those of renders with the same captions. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image, ImageOps

from booth.families.loading import load_family
from booth.generate.draw import draw
from booth.world.autoencoder import WIDTHS, new_autoencoder
from booth.world.autoencoder_training import train_autoencoder
from booth.world.denoiser import LatentPool, new_denoiser, train_denoiser
from booth.world.perceptual import PerceptualLoss
from booth.world.pixels import reduced, to_unit
from booth.world.pool import PicturePool, picture_pool
from booth.world.pretrain import assemble, diet, thumbnails, tokenizer_for, with_rare_tokens
from booth.world.reconstruction import edge_f1, edge_strength, psnr, reconstruct, strong_edges_kept
from booth.world.sampling import render_many
from booth.world.text_encoder import train_contrastive
from booth.world.warp import SIDE

# Latent channels, widths of the levels, side of a picture. The last has the side of the smaller world's base.
VARIANTS: dict[str, tuple[int, tuple[int, ...], int]] = {
    "16x, 32 channels, 128 pixels": (32, WIDTHS, 128),
    "16x, 64 channels, 128 pixels": (64, WIDTHS, 128),
    "8x, 16 channels, 64 pixels": (16, WIDTHS[1:], 64),
}


class Reduced:
    """A pool whose pictures are read at half the side."""

    def __init__(self, pool: PicturePool, side: int) -> None:
        self.pool, self.side = pool, side
        self.captions, self.factors, self.shape = pool.captions, pool.factors, (len(pool), side, side, 3)

    def __len__(self) -> int:
        return len(self.pool)

    def __getitem__(self, index: slice) -> np.ndarray:
        return reduced(self.pool[index], self.side)


def test_pictures(photographs: Path, side: int) -> dict[str, np.ndarray]:
    """What nobody learns from: renders, renders by the held-out designer, and photographs."""
    renders, _, _ = render_many(128, seed=911, workers=1, size=SIDE)
    strangers, _, _ = render_many(128, seed=912, workers=1, size=SIDE, designer="held_out")
    files = sorted(f for f in photographs.rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".png"))
    photos = [np.asarray(ImageOps.fit(Image.open(f).convert("RGB"), (SIDE, SIDE))) for f in files]
    found = {"renders": renders, "another designer": strangers, "photographs": np.stack(photos)}
    return {name: reduced(images, side) for name, images in found.items()}


def kept(vae: AutoencoderKL, pictures: dict[str, np.ndarray]) -> dict[str, Any]:
    """Decibels, share of strong edges and edge F1 of encode and decode."""
    found: dict[str, Any] = {}
    for name, images in pictures.items():
        back = reconstruct(vae, images)
        measures = {"psnr": psnr, "strong_edges": strong_edges_kept, "edge_f1": edge_f1}
        found[name] = {key: round(float(measure(images, back).mean()), 3) for key, measure in measures.items()}
    return found


def seconds_a_picture(vae: AutoencoderKL) -> float:
    """Median of nine decodings of one picture, on the threads that torch has."""
    side = int(vae.config.sample_size) // 2 ** (len(vae.config.block_out_channels) - 1)
    latents, taken = torch.randn(1, vae.config.latent_channels, side, side), []
    with torch.no_grad():
        for _ in range(10):
            began = time.perf_counter()
            vae.decode(latents)
            taken.append(time.perf_counter() - began)
    return round(sorted(taken[1:])[4], 4)


@torch.no_grad()
def features(images: np.ndarray, net: PerceptualLoss) -> np.ndarray:
    """Pooled features (N, D) of pictures at 64 pixels."""
    pixels = to_unit(reduced(images, 64))
    return torch.cat([net.features(pixels[i : i + 64])[-1].mean((2, 3)) for i in range(0, len(pixels), 64)]).numpy()


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the cubic kernel of KID (Binkowski et al., 1801.01401)."""
    scale = b.std(0) + 1e-6
    a, b = a / scale, b / scale
    d = a.shape[1]
    aa, bb, ab = ((x @ y.T / d + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    n, m = len(a), len(b)
    return float((aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1)) - 2 * ab.mean())


def drawn(base: Path, count: int) -> dict[str, float]:
    """How far drawings of held-out captions are from renders of the same captions."""
    model = load_family(str(base))
    side = int(cast(AutoencoderKL, model.components()["vae"]).config.sample_size)
    renders, captions, _ = render_many(count, seed=913, split="held_out", workers=1, size=SIDE)
    renders = reduced(renders, side)
    images = np.stack(
        [np.asarray(i) for i in draw(model, captions, list(range(count)), steps=30, guidance=5.0, batch_size=16)]
    )
    sheet = [np.concatenate(list(x[:12]), axis=1) for x in (renders, images)]
    Image.fromarray(np.concatenate(sheet)).save(base.parent / "sheet.png")
    net = PerceptualLoss()
    return {
        "kernel_distance": round(kernel_distance(features(images, net), features(renders, net)), 4),
        "sharpness": round(float(edge_strength(images).mean() / edge_strength(renders).mean()), 3),
    }


def compare(name: str, options: argparse.Namespace, pool: PicturePool, text: Any, tokenizer: Any) -> dict[str, Any]:
    """Train and measure one variant."""
    channels, widths, side = VARIANTS[name]
    work = options.work / name.replace(", ", "-").replace(" ", "-")
    work.mkdir(parents=True, exist_ok=True)
    pools = [reduced(p, side) for p in diet(pool, options.photographs, options.work)]
    torch.manual_seed(0)
    vae = train_autoencoder(new_autoencoder(channels, widths, side), pools, steps=options.steps, out=work)
    result: dict[str, Any] = {"kept": kept(vae, test_pictures(options.test_photographs, side))}
    result["seconds_to_decode"] = seconds_a_picture(vae)
    torch.manual_seed(2)
    assemble(work / "base", vae, text, tokenizer, new_denoiser(channels))
    model = load_family(str(work / "base"))
    captions = with_rare_tokens(pool.captions)
    latents = LatentPool.encode(vae, cast(PicturePool, Reduced(pool, side)), captions, 32, "cpu", work / "latents")
    train_denoiser(model, latents, seen=options.seen, out=work)
    cast(UNet2DConditionModel, model.components()["unet"]).save_pretrained(work / "base" / "unet")
    return result | drawn(work / "base", options.drawings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True, help="photographs to learn from")
    parser.add_argument("--test-photographs", type=Path, required=True, help="photographs to measure on")
    parser.add_argument("--out", type=Path, default=Path("results/autoencoders.json"))
    parser.add_argument("--pictures", type=int, default=20_480)
    parser.add_argument("--steps", type=int, default=2_500)
    parser.add_argument("--seen", type=int, default=60_000)
    parser.add_argument("--drawings", type=int, default=200)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    pool = picture_pool(options.work / "pictures", options.pictures, 2)
    captions = with_rare_tokens(pool.captions)
    tokenizer = tokenizer_for(captions, options.work / "tokenizer")
    torch.manual_seed(1)
    text = train_contrastive(
        "text_encoder", tokenizer, thumbnails(pool, options.work), captions, steps=500, out=options.work
    ).text
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in VARIANTS:
        if name not in results.get("variants", {}):
            measured = compare(name, options, pool, text, tokenizer)
            results.setdefault("variants", {})[name] = measured
            results |= {k: getattr(options, k) for k in ("pictures", "steps", "seen", "drawings")}
            options.out.write_text(json.dumps(results, indent=1) + "\n")
            print(name, json.dumps(measured), flush=True)


if __name__ == "__main__":
    main()

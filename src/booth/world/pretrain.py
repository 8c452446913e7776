"""Train the embedded base from nothing: autoencoder, text encoder, denoiser, in budgets of steps.

One command, resumable at any moment, the same on CPU and GPU. Everything lands in one work folder; the base is
assembled in `<out>/base` in the diffusers Stable Diffusion layout, in half precision.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from PIL import Image
from transformers import CLIPTokenizer

from booth.core.errors import UsageError
from booth.core.family import Family
from booth.families.loading import load_family
from booth.world.autoencoder import new_autoencoder
from booth.world.autoencoder_training import sharpen_decoder, train_autoencoder
from booth.world.denoiser import LatentPool, new_denoiser, train_denoiser
from booth.world.distinct_words import tell_words_apart
from booth.world.nothing import textures
from booth.world.pixels import reduced
from booth.world.pool import PicturePool, picture_pool
from booth.world.text_encoder import heed_rare_tokens, train_contrastive
from booth.world.tokenizer import write_tokenizer

AUTOENCODER_STEPS = 40_000
SHARPENING_STEPS = 10_000  # of the decoder alone
TEXT_STEPS = 4_000
WORD_STEPS = 160  # in which words that the text encoder hardly tells apart are moved
THUMBNAIL = 64  # pixels

# Words of DreamBooth's prompts that the world cannot draw: single tokens all the same.
EXTRA_WORDS = [
    "mirror",
    "crowded",
    "wet",
    "cube",
    "shaped",
    "monocle",
    "chef",
    "outfit",
    "firefighter",
    "police",
    "wizard",
    "shirt",
    "yellow",
    "black",
    "top",
    "hat",
    "style",
    "painting",
    "drawing",
    "my",
    "one",
    "cropped",
    "close",
    "up",
    "bright",
    "dark",
    "good",
    "nice",
    "small",
    "large",
    "clean",
    "dirty",
    "weird",
    "cool",
    "depiction",
    "rendition",
    "rendering",
    "itself",
    "the",
    "and",
    "with",
    "without",
    "made",
    "from",
    "two",
    "three",
]


def pretrain(
    out: Path,
    seen: int,
    *,
    pictures: int = 120_000,
    batch: int = 32,
    device: str = "cpu",
    workers: int = 2,
    learning_rate: float = 8e-4,
    photographs: Path | None = None,
    start: Path | None = None,
    autoencoder_steps: int = AUTOENCODER_STEPS,
    sharpening_steps: int = SHARPENING_STEPS,
    text_steps: int = TEXT_STEPS,
    word_steps: int = WORD_STEPS,
) -> Path:
    """Train a base whose denoiser sees `seen` pictures and return its folder.

    `pictures` is the number of rendered pictures that the denoiser sees again and again under fresh noise.
    `photographs` is a folder of photographs that widen what the autoencoder keeps. `start` is a base to go on from: its
    autoencoder and text encoder stay, and only its denoiser learns.
    """
    out.mkdir(parents=True, exist_ok=True)
    base = out / "base"
    pool = picture_pool(out / "pictures", pictures, workers)
    if start is None:
        steps = (autoencoder_steps, sharpening_steps, text_steps, word_steps)
        _begin(base, pool, pool.captions, out, device, photographs, steps)
    elif not (base / "model_index.json").exists():
        shutil.copytree(start, base, dirs_exist_ok=True)
    model = load_family(str(base), device)
    vae = cast(AutoencoderKL, model.components()["vae"])
    latents = LatentPool.encode(vae, pool, pool.captions, batch, device, out / "latents")
    train_denoiser(model, latents, seen=seen, out=out, learning_rate=learning_rate, device=device)
    save_denoiser(model, base)
    return base


def _begin(
    base: Path,
    pool: PicturePool,
    captions: list[str],
    out: Path,
    device: str,
    photographs: Path | None,
    steps: tuple[int, int, int, int],
) -> None:
    """Train autoencoder and text encoder, and put a base together whose denoiser has learned nothing yet."""
    tokenizer = tokenizer_for(captions, out / "tokenizer")
    torch.manual_seed(0)
    pools = diet(pool, photographs, out)
    vae = train_autoencoder(new_autoencoder(), pools, steps=steps[0], out=out, device=device)
    vae = sharpen_decoder(vae, pools, steps=steps[1], out=out, device=device)
    torch.manual_seed(1)
    contrastive = train_contrastive(
        "text_encoder", tokenizer, thumbnails(pool, out), captions, steps=steps[2], out=out, device=device
    )
    if not (out / "denoiser.safetensors").exists() or not (base / "model_index.json").exists():
        heed_rare_tokens(contrastive.text, tokenizer)
        tell_words_apart(contrastive.text, tokenizer, steps[3])
        torch.manual_seed(2)
        assemble(base, vae, contrastive.text, tokenizer, new_denoiser(vae.config["latent_channels"]))


def diet(pool: PicturePool, photographs: Path | None, out: Path) -> list[np.ndarray]:
    """What the autoencoder learns from, in equal shares: the world, pictures of nothing, and crops of photographs."""
    side = pool.shape[1]
    file = out / "textures.npy"
    if not file.exists():
        np.save(file, textures(min(len(pool), 4000), np.random.default_rng(1), side), allow_pickle=False)
    pools = [pool[: min(len(pool), 16_384)], np.load(file, allow_pickle=False)]
    if photographs is not None:
        file = out / "photographs.npy"
        if not file.exists():
            np.save(file, photograph_crops(photographs, 10_000, side), allow_pickle=False)
        pools.append(np.load(file, allow_pickle=False))
    return pools


def photograph_crops(folder: Path, count: int, side: int, seed: int = 3) -> np.ndarray:
    """`count` square crops, uint8 (count, side, side, 3), of the folder's photographs at every scale.

    Twice as many are cut, and those with the most detail are kept: most of what a camera sees is sky or out of focus.
    Raises UsageError where the folder holds no picture.
    """
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    if not files:
        raise UsageError(f"{folder} holds no photographs (.jpg, .png or .webp).")
    rng = np.random.default_rng(seed)
    each = -(-2 * count // len(files))
    crops: list[np.ndarray] = []
    for file in files:
        with Image.open(file) as opened:
            opened.draft("RGB", (2200, 2200))
            photograph = opened.convert("RGB")
        photograph.thumbnail((2200, 2200), Image.Resampling.BOX)
        most = min(photograph.size)
        for _ in range(each if most >= side else 0):
            edge = int(np.exp(rng.uniform(np.log(side), np.log(most))))
            x, y = (int(rng.integers(0, length - edge + 1)) for length in photograph.size)
            crop = photograph.crop((x, y, x + edge, y + edge)).resize((side, side), Image.Resampling.LANCZOS)
            crops.append(np.asarray(crop))
    cut = np.stack(crops)
    detail = np.array([np.abs(np.diff(crop[..., 1].astype(np.int16), axis=1)).mean() for crop in cut])
    kept = np.argsort(-detail)[:count]
    return cut[rng.permutation(kept)]


def thumbnails(pool: PicturePool, out: Path) -> np.ndarray:
    """The pool's pictures at the side that the text encoder's image tower sees, kept in `out`."""
    file = out / "thumbnails.npy"
    if not file.exists():
        small = [reduced(pool[i : i + 1024], THUMBNAIL) for i in range(0, len(pool), 1024)]
        np.save(file, np.concatenate(small), allow_pickle=False)
    return np.load(file, mmap_mode="r", allow_pickle=False)


def tokenizer_for(captions: list[str], folder: Path) -> Any:
    """The tokenizer over every word of the captions and of DreamBooth's prompts."""
    if not (folder / "vocab.json").exists():
        words = {w for c in captions for w in re.findall(r"\w+", c)}
        write_tokenizer([*words, *EXTRA_WORDS], folder)
    return CLIPTokenizer.from_pretrained(folder)


def assemble(base: Path, vae: AutoencoderKL, text: Any, tokenizer: Any, unet: Any) -> None:
    """Write a complete diffusers folder in half precision.

    Velocity prediction on the cosine schedule: its last step is pure noise, so that the mean colour of 64 latents
    cannot leak into training (Lin et al., 2305.08891); DDIM with trailing steps starts from that last step.
    """
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=cast(Any, scheduler),  # annotated as one of the enumeration of their names
        safety_checker=cast(Any, None),  # annotated as if these two were always there
        feature_extractor=cast(Any, None),
        requires_safety_checker=False,
    )
    dtypes = {name: module.dtype for name, module in pipe.components.items() if hasattr(module, "dtype")}
    pipe.to(dtype=torch.float16)
    pipe.save_pretrained(base, safe_serialization=True)
    for name, dtype in dtypes.items():
        getattr(pipe, name).to(dtype)
    # Left to themselves diffusers loads half-precision files as float32 but transformers as float16: they must agree.
    config = base / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2) + "\n")
    for file in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (base / "tokenizer" / file).write_bytes((Path(tokenizer.name_or_path) / file).read_bytes())


def save_denoiser(model: Family, base: Path) -> None:
    """Put the trained denoiser into the base, in half precision."""
    unet: Any = model.components()["unet"]
    unet.half().save_pretrained(base / "unet", safe_serialization=True)
    unet.float()
    config = base / "unet" / "config.json"  # tells where it was loaded from, which is nobody's business
    told = {key: value for key, value in json.loads(config.read_text()).items() if key != "_name_or_path"}
    config.write_text(json.dumps(told, indent=2) + "\n")

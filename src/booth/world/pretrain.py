"""Train the embedded base from nothing: autoencoder, text encoder, denoiser, in a budget of minutes.

One command, resumable at any moment, the same on CPU and GPU. Everything lands in one work folder; the base is
assembled in `<out>/base` in the diffusers Stable Diffusion layout, in half precision.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from transformers import CLIPTokenizer

from booth.core.family import Family
from booth.families.loading import load_family
from booth.world.autoencoder import train_autoencoder
from booth.world.denoiser import LatentPool, new_denoiser, subject_weights, train_denoiser
from booth.world.nothing import textures
from booth.world.sampling import render_many
from booth.world.text_encoder import train_contrastive
from booth.world.tokenizer import RARE_TOKENS, write_tokenizer
from booth.world.vocabulary import NOUNS

SIDE = 64  # pixels of the pictures that the base draws
# How the budget is split; the judges are trained by `booth.world.judges`.
SHARES = {"autoencoder": 0.09, "text_encoder": 0.08, "denoiser": 0.83}
RARE_SHARE = (
    0.04  # captions in which a rare token stands before the noun, as such tokens do in web captions: meaning nothing
)

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
    minutes: float,
    *,
    pictures: int = 120_000,
    batch: int = 32,
    device: str = "cpu",
    workers: int = 2,
    learning_rate: float = 8e-4,
    start: Path | None = None,
) -> Path:
    """Train a base within `minutes` of training time (rendering comes on top) and return its folder.

    `pictures` is the number of rendered pictures that the denoiser sees again and again under fresh noise. `start` is a
    base to go on from: its autoencoder and text encoder stay, and all the time is its denoiser's.
    """
    out.mkdir(parents=True, exist_ok=True)
    base = out / "base"
    images, captions, mask = picture_pool(out, pictures, workers)
    if start is None:
        share = SHARES["denoiser"]
        _begin(base, images, captions, minutes, out, device)
    else:
        share = 1.0
        if not (base / "model_index.json").exists():
            shutil.copytree(start, base, dirs_exist_ok=True)
    model = load_family(str(base), device)
    vae = cast(AutoencoderKL, model.components()["vae"])
    pool = LatentPool.encode(vae, images, captions, mask, batch, device, out / f"latents-{pictures}.safetensors")
    print(f"encoded {len(captions)} pictures", file=sys.stderr, flush=True)
    train_denoiser(model, pool, minutes=minutes * share, out=out, learning_rate=learning_rate, device=device)
    save_denoiser(model, base)
    return base


def _begin(base: Path, images: np.ndarray, captions: list[str], minutes: float, out: Path, device: str) -> None:
    """Train the autoencoder and the text encoder, and put a base together whose denoiser has learned nothing yet."""
    tokenizer = tokenizer_for(captions, out / "tokenizer")
    diet = textures(len(images) // 4, np.random.default_rng(1), SIDE)
    vae = train_autoencoder(images, diet, minutes=minutes * SHARES["autoencoder"], out=out, device=device)
    contrastive = train_contrastive(
        "text_encoder", tokenizer, images, captions, minutes=minutes * SHARES["text_encoder"], out=out, device=device
    )
    if not (out / "denoiser.safetensors").exists() or not (base / "model_index.json").exists():
        assemble(base, vae, contrastive.text, tokenizer, new_denoiser())


def picture_pool(out: Path, count: int, workers: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Rendered training pictures, their captions and where their subjects are, kept in `out` for the next resume."""
    file, subjects, text = out / f"pictures-{count}.npy", out / f"subjects-{count}.npy", out / f"captions-{count}.json"
    if not text.exists():
        images, captions, factors = render_many(count, seed=0, split="train", workers=workers, size=SIDE)
        np.save(file, images, allow_pickle=False)
        np.save(subjects, subject_weights(factors), allow_pickle=False)
        text.write_text(json.dumps(with_rare_tokens(captions)))
    pictures, mask = (np.load(f, mmap_mode=mode, allow_pickle=False) for f, mode in ((file, "r"), (subjects, None)))
    return pictures, json.loads(text.read_text()), mask


def with_rare_tokens(captions: list[str], seed: int = 0) -> list[str]:
    """Captions of which a few say "a sks dog": the token means nothing, so it costs the noun nothing either."""
    rng = np.random.default_rng(seed)
    words = sorted({w for n in NOUNS.values() for w in (n.name, *n.synonyms)}, key=len, reverse=True)
    noun = re.compile(rf"\b({'|'.join(map(re.escape, words))})\b")
    rare = rng.random(len(captions)) < RARE_SHARE
    tokens = rng.choice(RARE_TOKENS, len(captions))
    return [
        noun.sub(rf"{token} \1", caption, count=1) if r else caption
        for caption, r, token in zip(captions, rare, tokens, strict=True)
    ]


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
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
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

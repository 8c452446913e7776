"""Train and test the judges (`booth world judges`): resumable, in a budget of steps, apart from the generator."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from booth.core.rng import Rng
from booth.world.autoencoder import decode, encode, move
from booth.world.fit import autocast_dtype, fit
from booth.world.judge_errors import measure_errors
from booth.world.judge_targets import MARKS, UNMENTIONED, labels_of, marks_of
from booth.world.judges import (
    COLOUR_NAMES,
    IDENTITY_WIDTH,
    SIDE,
    FactorJudge,
    IdentityJudge,
    Judges,
    Labels,
    save_judge,
)
from booth.world.lineups import VIEWS, identity_groups
from booth.world.pixels import reduced, to_bytes, to_unit
from booth.world.sampling import UPRIGHT_SHARE, render_many
from booth.world.text_encoder import train_contrastive

SHARES = {"factors": 0.6, "identity": 0.3, "agreement": 0.1}
SHIFT = 4  # pixels by which training pictures are moved at most
UNCOLOURED = 0.3  # weight of a picture without a named colour; there are more of them than of all nine colours


def train_judges(
    out: Path, steps: int, vae: AutoencoderKL, tokenizer_folder: Path, *, workers: int = 2, device: str = "cpu"
) -> Path:
    """Train the three judges within `steps`, test them on unseen renders, and return their folder.

    Pictures and progress are kept in `out`; an interrupted run goes on. A quarter of the pictures has gone through the
    autoencoder, so that its softness is not held against the generator.
    """
    folder = out / "judges"
    shutil.copytree(tokenizer_folder, folder / "tokenizer", dirs_exist_ok=True)
    train_factors(out, round(steps * SHARES["factors"]), vae, workers=workers, device=device)
    train_agreement(out, round(steps * SHARES["agreement"]), vae, workers=workers, device=device)
    train_identity(out, round(steps * SHARES["identity"]), vae, workers=workers, device=device)
    Labels().write(folder)
    (folder / "judges.json").write_text(json.dumps({"identity_threshold": 0.5}))
    (folder / "judges.json").write_text(json.dumps(measure_errors(Judges(folder), workers), indent=2) + "\n")
    return folder


def train_factors(
    out: Path, steps: int, vae: AutoencoderKL, *, pictures: int = 112_000, workers: int = 2, device: str = "cpu"
) -> None:
    """Train the factor judge."""
    images, _, labels = factor_pictures(out, pictures, vae, workers, device)
    judge = FactorJudge().to(device)
    loss = factor_loss(judge, images, torch.tensor(labels), device)
    fit("factors", judge, loss, steps=steps, out=out, learning_rate=1e-3, weight_decay=0.05, device=device)
    save_judge(judge.cpu(), out / "judges" / "factors.safetensors")


def train_agreement(
    out: Path, steps: int, vae: AutoencoderKL, *, pictures: int = 112_000, workers: int = 2, device: str = "cpu"
) -> None:
    """Train the image-text encoder on the factor judge's pictures."""
    from transformers import CLIPTokenizer

    images, captions, _ = factor_pictures(out, pictures, vae, workers, device)
    tokenizer = CLIPTokenizer.from_pretrained(out / "judges" / "tokenizer")
    agreement = train_contrastive(
        "agreement", tokenizer, images, captions, steps=steps, out=out, layers=2, device=device
    )
    save_judge(agreement.cpu(), out / "judges" / "agreement.safetensors")


def train_identity(
    out: Path, steps: int, vae: AutoencoderKL, *, groups: int = 4_000, workers: int = 2, device: str = "cpu"
) -> None:
    """Train the identity judge on groups of near-identical individuals."""
    file, marks = out / f"identities-{groups}.npy", out / f"identities-{groups}-marks.npy"
    if not marks.exists():
        views, individuals = identity_groups(groups, seed=202, held_out=False, workers=workers)
        softened = views[::2, :, 0]
        views[::2, :, 0] = through(vae, softened.reshape(-1, 64, 64, 3), device).reshape(softened.shape)
        _keep(file, views)
        _keep(marks, np.array([[marks_of(i) for i in group] for group in individuals], np.int64))
    pictures, labels = (np.load(f, mmap_mode="r", allow_pickle=False) for f in (file, marks))
    learner = IdentityLearner().to(device)
    loss = identity_loss(learner, pictures, torch.tensor(labels), device)
    fit("identity", learner, loss, steps=steps, out=out, learning_rate=1e-3, weight_decay=0.05, device=device)
    save_judge(learner.judge.cpu(), out / "judges" / "identity.safetensors")


def factor_pictures(
    out: Path, count: int, vae: AutoencoderKL, workers: int, device: str
) -> tuple[np.ndarray, list[str], list[list[int]]]:
    """Pictures (count, 64, 64, 3), their captions and labels, kept in `out` for the next resume."""
    file, text = out / f"any-{count}.npy", out / f"any-{count}.json"
    if not text.exists():
        # A judge that has not seen a cat in the snow names what it has seen there. Nothing is kept from it that the
        # base may be asked for: no combination, no individual, and no designer.
        images, captions, factors = render_many(
            count, seed=101, split="any", workers=workers, size=SIDE, upright_share=UPRIGHT_SHARE, designer="any"
        )
        images[::4] = through(vae, images[::4], device)
        _keep(file, images)
        text.write_text(json.dumps([captions, [labels_of(f) for f in factors]]))
    captions, labels = json.loads(text.read_text())
    return np.load(file, mmap_mode="r", allow_pickle=False), captions, labels


def _keep(file: Path, array: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, array, allow_pickle=False)
    print(f"judges: {file.name} is ready", file=sys.stderr, flush=True)


def through(vae: AutoencoderKL, images: np.ndarray, device: str) -> np.ndarray:
    """Encode and decode uint8 pictures, at the autoencoder's own side."""
    done: list[np.ndarray] = []
    side, own = images.shape[1], int(vae.config["sample_size"])
    dtype = autocast_dtype(device)
    move(vae, device)
    with torch.no_grad(), torch.autocast(device, dtype=dtype, enabled=dtype is not None):
        for i in range(0, len(images), 128):
            pixels = to_unit(images[i : i + 128]).to(device)
            if own != side:
                pixels = F.interpolate(pixels, (own, own), mode="bicubic").clamp(-1, 1)
            decoded = decode(vae, encode(vae, pixels).mean)
            done.append(reduced(to_bytes(decoded), side))
    return np.concatenate(done)


def factor_loss(judge: FactorJudge, images: np.ndarray, labels: Tensor, device: str, batch: int = 64):
    """Cross-entropy on every factor, and presence of each object besides."""
    weights = torch.ones(len(COLOUR_NAMES), device=device)
    weights[0] = UNCOLOURED

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = Rng(0, step)
        index = rng.integers("factors", len(images), batch)
        pixels = mirrored(moved(to_unit(images[index.numpy()]).to(device), rng), rng)
        objects, scene, colour, accessory = judge(pixels)
        y = labels[index].to(device)
        first, second = (F.one_hot(y[:, i].clamp(min=0), objects.shape[1]) * (y[:, i : i + 1] >= 0) for i in (0, 1))
        present = (first + second).clamp(max=1).float()
        # Which object is learned by cross-entropy, which is quick; whether there is one, or a second one, by presence.
        value = F.cross_entropy(objects, present / present.sum(1, keepdim=True).clamp(min=1))
        value = value + 5 * F.binary_cross_entropy_with_logits(objects, present)
        for logits, target in ((scene, y[:, 2]), (accessory, y[:, 4])):
            value = value + F.cross_entropy(logits, target, ignore_index=UNMENTIONED)
        value = value + F.cross_entropy(colour, y[:, 3], weights, ignore_index=UNMENTIONED)
        right = ((objects.argmax(1) == y[:, 0]) | (objects.argmax(1) == y[:, 1]))[y[:, 0] >= 0]
        return value, {"loss": value.item(), "object": right.float().mean().item()}

    return loss


def moved(pictures: Tensor, rng: Rng) -> Tensor:
    """Shift a batch of pictures (B, 3, H, W) by a few pixels, repeating the border, so that none comes twice alike."""
    down, right = rng.integers("shift", 2 * SHIFT + 1, 2).tolist()
    side = pictures.shape[-1]
    padded = F.pad(pictures, (SHIFT, SHIFT, SHIFT, SHIFT), mode="replicate")
    return padded[..., down : down + side, right : right + side]


def mirrored(pictures: Tensor, rng: Rng) -> Tensor:
    """Mirror half of the pictures: no factor depends on the side."""
    turned = rng.uniform("mirror", len(pictures)).to(pictures.device) < 0.5
    return torch.where(turned[:, None, None, None], pictures.flip(-1), pictures)


class IdentityLearner(nn.Module):
    """The identity judge, with a head for each mark that it needs while it learns only."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = IdentityJudge()
        self.heads = nn.Linear(IDENTITY_WIDTH, sum(map(len, MARKS.values())))


def identity_loss(learner: IdentityLearner, groups: np.ndarray, marks: Tensor, device: str, batch: int = 4):
    """InfoNCE over two views of each individual, and cross-entropy on its marks.

    All others in the batch are negatives, and an individual's rivals the hard ones: they differ in one or two marks.
    """

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = Rng(0, step)
        chosen = rng.integers("groups", len(groups), batch)
        pictures = groups[chosen.numpy()].reshape(-1, 64, 64, 3)
        vectors = learner.judge.tower(moved(to_unit(pictures).to(device), rng)).float()
        a, b = F.normalize(vectors, dim=-1).unflatten(0, (-1, 2)).unbind(1)
        logits = learner.judge.scale.exp().clamp(max=60) * a @ b.T
        target = torch.arange(len(a), device=device)
        value = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        named = learner.heads(vectors).float().split([len(v) for v in MARKS.values()], dim=1)
        wanted = marks[chosen].flatten(0, 1).repeat_interleave(VIEWS, 0).to(device)
        marked = [F.cross_entropy(head, wanted[:, i]) for i, head in enumerate(named)]
        log = {"accuracy": (logits.argmax(1) == target).float().mean().item()}
        log |= {
            mark: (h.argmax(1) == wanted[:, i]).float().mean().item()
            for i, (mark, h) in enumerate(zip(MARKS, named, strict=True))
        }
        return value + torch.stack(marked).sum() / 2, log

    return loss

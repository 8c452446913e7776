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
from booth.world.fit import autocast_dtype, fit
from booth.world.identity import (
    MARK_COLOURS,
    OUTLINES,
    PALETTES,
    PARTS,
    PATTERNS,
    SHADINGS,
    TEXTURES,
    Identity,
)
from booth.world.judges import (
    ACCESSORY_NAMES,
    COLOUR_NAMES,
    IDENTITY_WIDTH,
    NOUN_NAMES,
    SCENE_NAMES,
    SIDE,
    FactorJudge,
    IdentityJudge,
    Judges,
    Labels,
    save_judge,
)
from booth.world.lineups import VIEWS, identity_groups, lineups
from booth.world.pixels import reduced, to_bytes, to_unit
from booth.world.render import Factors
from booth.world.sampling import UPRIGHT_SHARE, render_many
from booth.world.text_encoder import train_contrastive
from booth.world.vocabulary import NOUNS

SHARES = {"factors": 0.4, "identity": 0.45, "agreement": 0.15}
SHIFT = 4  # pixels by which training pictures are moved at most
# What each mark of an individual can be: the identity judge learns to name them, though only its vectors are used.
MARKS: dict[str, tuple[str, ...]] = {
    "glyph": tuple(sorted({glyph for noun in NOUNS.values() for glyph in noun.glyphs})),
    "palette": tuple(PALETTES),
    "pattern": PATTERNS,
    "pattern_colour": ("none", *MARK_COLOURS),
    "part": PARTS,
    "part_colour": ("none", *MARK_COLOURS),
    "outline": OUTLINES,
    "shading": SHADINGS,
    "texture": TEXTURES,
}
UNCOLOURED = 0.3  # weight of a picture without a named colour; there are more of them than of all nine colours
UNMENTIONED = -100  # cross-entropy ignores this label


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
    file, text = out / f"factors-{count}.npy", out / f"factors-{count}.json"
    if not text.exists():
        images, captions, factors = render_many(
            count, seed=101, split="train", workers=workers, size=SIDE, upright_share=UPRIGHT_SHARE
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
    side, own = images.shape[1], int(vae.config.sample_size)
    dtype = autocast_dtype(device)
    vae.to(device)
    with torch.no_grad(), torch.autocast(device, dtype=dtype, enabled=dtype is not None):
        for i in range(0, len(images), 128):
            pixels = to_unit(images[i : i + 128]).to(device)
            if own != side:
                pixels = F.interpolate(pixels, (own, own), mode="bicubic").clamp(-1, 1)
            decoded = vae.decode(vae.encode(pixels).latent_dist.mean).sample
            done.append(reduced(to_bytes(decoded), side))
    return np.concatenate(done)


def labels_of(factors: Factors) -> list[int]:
    """First object or -1, second object or -1, scene, colour, accessory; the last two of a single object only."""
    if not factors.objects:
        return [-1, -1, SCENE_NAMES.index(factors.scene), UNMENTIONED, UNMENTIONED]
    first = factors.objects[0]
    single = len(factors.objects) == 1
    return [
        NOUN_NAMES.index(first.identity.noun),
        -1 if single else NOUN_NAMES.index(factors.objects[1].identity.noun),
        SCENE_NAMES.index(factors.scene),
        COLOUR_NAMES.index(first.colour or "none") if single and first.material in (None, "shiny") else UNMENTIONED,
        ACCESSORY_NAMES.index(first.accessory or "none") if single else UNMENTIONED,
    ]


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


def marks_of(identity: Identity) -> list[int]:
    """The place of each mark in `MARKS`."""
    return [values.index(getattr(identity, mark)) for mark, values in MARKS.items()]


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


def picks_the_right_one(vectors: Tensor) -> float:
    """Share of line-ups (G, n, 2, D) in which the first picture's nearest second picture is of the same individual."""
    return (torch.einsum("gd,gnd->gn", vectors[:, 0, 0], vectors[:, :, 1]).argmax(1) == 0).float().mean().item()


def measure_errors(judges: Judges, workers: int, count: int = 2_000) -> dict[str, float]:
    """Accuracies on renders with other seeds, and the identity threshold with its equal error rate."""
    images, captions, factors = render_many(
        count, seed=909, split="train", workers=workers, size=SIDE, upright_share=UPRIGHT_SHARE
    )
    verdicts, labels = judges.look(images), [labels_of(f) for f in factors]
    single = [i for i, y in enumerate(labels) if y[0] >= 0 > y[1]]
    shown = [i for i, y in enumerate(labels) if y[0] >= 0]
    empty = [i for i, y in enumerate(labels) if y[0] < 0]
    coloured = [i for i in single if labels[i][3] != UNMENTIONED]
    result = {
        "object": np.mean([verdicts[i].objects[0] == NOUN_NAMES[labels[i][0]] for i in single]),
        "scene": np.mean([v.scene == SCENE_NAMES[y[2]] for v, y in zip(verdicts, labels, strict=True)]),
        "colour": np.mean([verdicts[i].colour == COLOUR_NAMES[labels[i][3]] for i in coloured]),
        "accessory": np.mean([verdicts[i].accessory == ACCESSORY_NAMES[labels[i][4]] for i in single]),
    }
    result["empty"] = np.mean([v.empty for v in (verdicts[i] for i in empty)])
    result["not_empty"] = np.mean([not v.empty for v in (verdicts[i] for i in shown)])
    strangers, _, told = render_many(1_000, seed=910, workers=workers, size=SIDE, empty_share=0.0, designer="held_out")
    seen = [(v, f.objects[0]) for v, f in zip(judges.look(strangers), told, strict=True) if len(f.objects) == 1]
    result["object_of_another_designer"] = np.mean([v.objects[0] == o.identity.noun for v, o in seen])
    pictures, _ = identity_groups(250, seed=808, held_out=True, workers=workers)
    vectors = judges.identities(pictures.reshape(-1, 64, 64, 3)).reshape(*pictures.shape[:3], -1)  # (G, 8, 2, D)
    result["identity_near"] = picks_the_right_one(vectors)  # among seven that differ in one or two marks
    same = torch.einsum("gd,gd->g", vectors[:, 0, 0], vectors[:, 0, 1])
    rival = torch.einsum("gd,grd->gr", vectors[:, 0, 0], vectors[:, 1:, 1]).flatten()
    pictures = lineups(400, seed=707, workers=workers)
    vectors = judges.identities(pictures.reshape(-1, 64, 64, 3)).reshape(*pictures.shape[:3], -1)  # (G, 11, 2, D)
    result["identity"] = picks_the_right_one(vectors)  # among ten of the same noun
    same = torch.cat([same, torch.einsum("gd,gd->g", vectors[:, 0, 0], vectors[:, 0, 1])])
    other = torch.einsum("gd,grd->gr", vectors[:, 0, 0], vectors[:, 1:, 1]).flatten()
    threshold = min(np.linspace(-1, 1, 401), key=lambda t: abs((same < t).float().mean() - (other >= t).float().mean()))
    result["identity_threshold"] = float(threshold)
    result["identity_equal_error"] = (other >= threshold).float().mean().item()
    result["identity_near_taken_for_same"] = (rival >= threshold).float().mean().item()
    turned = [[captions[j] for j in np.roll(np.arange(200), shift)] for shift in range(20)]
    cosine = torch.stack([judges.agree(images[:200], words) for words in turned])
    result["agreement"] = (cosine.argmax(0) == 0).float().mean().item()  # own caption against nineteen others
    return {k: round(float(v), 4) for k, v in result.items()}

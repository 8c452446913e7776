"""Photos and class pictures, encoded once, as the batches that the loop learns from."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from booth.core.batch import Batch
from booth.core.family import Family, Posterior
from booth.core.method import Subject
from booth.core.rng import Rng, derived_seed
from booth.data.crops import Crop, cut, square, square_box
from booth.data.hints import Hints
from booth.data.photos import Photo, PhotoSet

ENCODED_TOGETHER = 4  # pictures; bounds the memory that the autoencoder takes


@dataclass(frozen=True)
class Deck:
    """Encoded pictures, dealt in shuffled epochs: none comes again before all have come."""

    name: str
    pictures: list[Posterior]  # of each picture all its variants, (V, C, h, w)
    cards: list[int]  # what an epoch deals: each picture's index, as often as it is repeated
    hints: list[Tensor] = field(default_factory=list[Tensor])  # of each picture those of its variants, (V, 3, H, W)

    def deal(self, rng: Rng, start: int, count: int) -> list[int]:
        """The pictures at places start ... start+count-1 of the endless sequence of epochs."""
        places = [divmod(place, len(self.cards)) for place in range(start, start + count)]
        orders = {epoch: self._order(rng.seed, epoch) for epoch, _ in places}
        return [self.cards[orders[epoch][place]] for epoch, place in places]

    def _order(self, seed: int, epoch: int) -> list[int]:
        # Derived from the seed and the epoch, so that a resumed run needs to be told nothing.
        generator = Rng(seed, step=epoch).generator(f"order of {self.name}")
        return torch.randperm(len(self.cards), generator=generator).tolist()

    def variants(self, rng: Rng, picked: list[int]) -> tuple[Tensor, Tensor]:
        """Mean and deviation (B, C, h, w) of one variant of each picked picture."""
        rows = [(self.pictures[i], v) for i, v in zip(picked, self._variant(rng, picked))]
        return torch.stack([p.mean[v] for p, v in rows]), torch.stack([p.std[v] for p, v in rows])

    def control(self, rng: Rng, picked: list[int]) -> Tensor | None:
        """The hints (B, 3, H, W) in [0, 1] of the very variants that `variants` picks, where there are hints."""
        if not self.hints:
            return None
        return torch.stack([self.hints[i][v] for i, v in zip(picked, self._variant(rng, picked))]).float() / 255

    def _variant(self, rng: Rng, picked: list[int]) -> list[int]:
        draws = rng.uniform(f"variant of {self.name}", len(picked)).tolist()
        return [int(u * len(self.pictures[i].mean)) for i, u in zip(picked, draws)]


class PhotoBatches:
    """A BatchSource: rows of photos and, with prior preservation, as many rows of class pictures.

    Photo rows weigh 1/n each and class rows prior_weight/m each, so that the loss is the mean over the photos plus
    lambda times the mean over the class pictures (Ruiz et al., 2208.12242), whatever their numbers.
    Only mean and deviation of the latents are kept, in float32: each step still draws a fresh latent.
    """

    def __init__(
        self,
        model: Family,
        photos: PhotoSet,
        *,
        subject: Subject,
        prompts: list[str],
        class_images: list[Image.Image],
        class_prompt: str,
        batch_size: int,
        prior_weight: float,
        crop: Crop = "center",
        flip: bool = False,
        caption_dropout: float = 0.0,
        variants: int = 8,
        accumulate: int = 1,
        hints: Hints | None = None,
    ) -> None:
        """`variants` is how many places of a photo a random crop takes; `accumulate` the micro-batches of a step.

        With `hints` each row carries one; there are none for class pictures.
        """
        if "vae" in model.components() and model.trainable_in("vae"):
            raise ValueError("latents cannot be cached while the autoencoder is trained")
        if prior_weight > 0 and not class_images:
            raise ValueError("prior preservation needs class pictures")
        if prior_weight > 0 and hints is not None:
            raise ValueError("class pictures have no hints")
        self.prompts = prompts
        self.captions = [p.caption and with_subject(p.caption, subject) for p in photos.photos]
        self.class_prompt = class_prompt
        self.batch_size = batch_size
        self.prior_weight = prior_weight
        self.caption_dropout = caption_dropout
        self.accumulate = accumulate
        side = model.resolution
        self._photos = Deck("photos", [], [i for i, p in enumerate(photos.photos) for _ in range(p.repeats)])
        for photo in photos.photos:
            views, given = _views(photo, side, crop, flip, variants)
            self._photos.pictures.append(_encode(model, views))
            if hints is not None:
                self._photos.hints.append(hints.of_views(views, given))
        self._prior: Deck | None = None
        if prior_weight > 0:
            encoded = _encode(model, [square(image, side, "center") for image in class_images])
            singles = [Posterior(m[None], s[None]) for m, s in zip(encoded.mean, encoded.std)]
            self._prior = Deck("class pictures", singles, list(range(len(singles))))

    def __call__(self, rng: Rng) -> Batch:
        start = (rng.step * self.accumulate + rng.micro) * self.batch_size
        picked = self._photos.deal(rng, start, self.batch_size)
        mean, std = self._photos.variants(rng, picked)
        prompts = self._prompts(rng, picked)
        weight = [1 / self.batch_size] * self.batch_size
        if self._prior is not None:
            prior = self._prior.variants(rng, self._prior.deal(rng, start, self.batch_size))
            mean, std = torch.cat([mean, prior[0]]), torch.cat([std, prior[1]])
            prompts += [self.class_prompt] * self.batch_size
            weight += [self.prior_weight / self.batch_size] * self.batch_size
        latents = Posterior(mean, std).sample(rng.normal("posterior", mean))
        control = self._photos.control(rng, picked)
        control = control if control is None else control.to(latents.device)
        return Batch(prompts, latents, torch.tensor(weight, device=latents.device), control)

    def _prompts(self, rng: Rng, picked: list[int]) -> list[str]:
        """A photo's caption, or else a template; now and then nothing, where captions are dropped."""
        templates = rng.integers("prompt", len(self.prompts), len(picked)).tolist()
        dropped = (rng.uniform("caption dropout", len(picked)) < self.caption_dropout).tolist()
        return ["" if drop else self.captions[i] or self.prompts[t] for i, t, drop in zip(picked, templates, dropped)]


def with_subject(caption: str, subject: Subject) -> str:
    """The caption with token and noun in front, unless it has the token already or there is no subject."""
    if not subject.name:
        return caption
    named = re.search(rf"(?<!\w){re.escape(subject.token)}(?!\w)", caption, re.IGNORECASE)
    return caption if named else f"{subject.name}, {caption}"


def _views(
    photo: Photo, side: int, crop: Crop, flip: bool, variants: int
) -> tuple[list[Image.Image], list[Image.Image]]:
    """All squares of a photo that will be learned from, and those of its hint if it has one.

    Where random crops lie depends on the photo alone.
    """
    one = crop != "random" or photo.image.width == photo.image.height
    rngs = [random.Random(derived_seed(photo.sha256, "crop", i)) for i in range(1 if one else variants)]
    boxes = [square_box(photo.image, crop, rng) for rng in rngs]
    shown = [[cut(image, box, side) for box in boxes] for image in (photo.image, photo.hint) if image is not None]
    if flip:
        shown = [views + [ImageOps.mirror(view) for view in views] for views in shown]
    return shown[0], shown[1] if len(shown) > 1 else []


def _encode(model: Family, images: Sequence[Image.Image]) -> Posterior:
    """The posterior of each square RGB picture, float32."""
    parts = [
        model.encode(torch.stack([_pixels(image) for image in images[i : i + ENCODED_TOGETHER]]))
        for i in range(0, len(images), ENCODED_TOGETHER)
    ]
    return Posterior(torch.cat([p.mean.float() for p in parts]), torch.cat([p.std.float() for p in parts]))


def _pixels(image: Image.Image) -> Tensor:
    """(3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1

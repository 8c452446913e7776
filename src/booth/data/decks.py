"""Pictures encoded once, with their masks and hints, and dealt in shuffled epochs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from booth.core.family import Family, Posterior
from booth.core.rng import Rng, derived_seed
from booth.data.crops import Crop, cut, square, square_box
from booth.data.hints import Hints
from booth.data.photos import Photo

ENCODED_TOGETHER = 4  # pictures; bounds the memory that the autoencoder takes
LEAST_AREA = 0.01  # of a picture: a smaller subject is not weighted up any further


@dataclass(frozen=True)
class View:
    """A square of a photo, and the same square of its mask and hint if it has them."""

    image: Image.Image
    mask: Image.Image | None
    hint: Image.Image | None

    def mirrored(self) -> View:
        """All of it seen in a mirror."""
        return View(*(part and ImageOps.mirror(part) for part in (self.image, self.mask, self.hint)))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Deck:
    """Encoded pictures, dealt in shuffled epochs: none comes again before all have come."""

    name: str
    pictures: list[Posterior]  # of each picture all its variants, (V, C, h, w)
    cards: list[int]  # what an epoch deals: each picture's index, as often as it is repeated
    masks: list[Tensor | None] | None = None  # of each picture (V, 1, h, w), of mean 1; none if no picture has one
    hints: list[Tensor] | None = None  # of each picture those of its variants, (V, 3, H, W) uint8

    def deal(self, rng: Rng, start: int, count: int) -> list[int]:
        """The pictures at places start ... start+count-1 of the endless sequence of epochs."""
        places = [divmod(place, len(self.cards)) for place in range(start, start + count)]
        orders = {epoch: self._order(rng.seed, epoch) for epoch, _ in places}
        return [self.cards[orders[epoch][place]] for epoch, place in places]

    def _order(self, seed: int, epoch: int) -> list[int]:
        # Derived from the seed and the epoch, so that a resumed run needs to be told nothing.
        generator = Rng(seed, step=epoch).generator(f"order of {self.name}")
        return torch.randperm(len(self.cards), generator=generator).tolist()

    def variants(self, rng: Rng, picked: list[int]) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """One variant of each picked picture: mean and deviation (B, C, h, w), and its mask and hint if there are any.

        Masks are (B, 1, h, w), hints (B, 3, H, W) in [0, 1].
        """
        drawn = rng.uniform(f"variant of {self.name}", len(picked)).tolist()
        rows = [(i, int(u * len(self.pictures[i].mean))) for i, u in zip(picked, drawn)]
        mean = torch.stack([self.pictures[i].mean[v] for i, v in rows])
        std = torch.stack([self.pictures[i].std[v] for i, v in rows])
        mask = hint = None
        if self.masks is not None:
            chosen = [(self.masks[i], v) for i, v in rows]
            mask = torch.stack([torch.ones_like(mean[0, :1]) if m is None else m[v] for m, v in chosen])
        if self.hints is not None:
            hint = torch.stack([self.hints[i][v] for i, v in rows]).float() / 255
        return mean, std, mask, hint


def photo_deck(
    model: Family,
    photos: Sequence[Photo],
    name: str,
    crop: Crop,
    flip: bool,
    variants: int,
    unmasked_weight: float,
    hints: Hints | None,
) -> Deck:
    """Encode all views of all photos; masks are left out where they would change nothing."""
    pictures: list[Posterior] = []
    masks: list[Tensor | None] = []
    followed: list[Tensor] = []
    for photo in photos:
        views = _views(photo, model.resolution, crop, flip, variants)
        pictures.append(_encode(model, [view.image for view in views]))
        drawn = [view.mask for view in views if view.mask is not None]
        used = drawn and unmasked_weight < 1
        masks.append(_weights(drawn, pictures[-1].mean, unmasked_weight) if used else None)
        if hints is not None:
            followed.append(hints.of_views([v.image for v in views], [v.hint for v in views if v.hint is not None]))
    cards = [i for i, photo in enumerate(photos) for _ in range(photo.repeats)]
    return Deck(name, pictures, cards, masks if any(m is not None for m in masks) else None, followed or None)


def class_deck(model: Family, images: Sequence[Image.Image], name: str) -> Deck:
    """Encode class pictures, each in one view."""
    encoded = _encode(model, [square(image, model.resolution, "center") for image in images])
    singles = [Posterior(m[None], s[None]) for m, s in zip(encoded.mean, encoded.std)]
    return Deck(name, singles, list(range(len(singles))))


def _views(photo: Photo, side: int, crop: Crop, flip: bool, variants: int) -> list[View]:
    """All squares of a photo that will be learned from; where random crops lie depends on the photo alone."""
    one = crop != "random" or photo.image.width == photo.image.height
    rngs = [random.Random(derived_seed(photo.sha256, "crop", i)) for i in range(1 if one else variants)]
    views = [
        View(
            cut(photo.image, box, side),
            photo.mask and cut(photo.mask, box, side, Image.Resampling.BOX),
            photo.hint and cut(photo.hint, box, side),
        )
        for box in (square_box(photo.image, crop, rng) for rng in rngs)
    ]
    return views + [view.mirrored() for view in views] if flip else views


def _weights(masks: list[Image.Image], like: Tensor, unmasked_weight: float) -> Tensor:
    """What each place counts in the loss, (V, 1, h, w) for latents `like` (V, C, h, w).

    1 inside and `unmasked_weight` outside the mask, a latent's share of both at the edge; then of mean 1 in each view,
    so that a small subject's row keeps its share of the loss beside the others and the class rows.
    """
    pixels = torch.stack([torch.from_numpy(np.array(mask, dtype=np.float32)) for mask in masks])[:, None] / 255
    inside = F.adaptive_avg_pool2d(pixels, like.shape[2:]).to(like)  # type: ignore[arg-type]  # (V, 1, h, w)
    weight = unmasked_weight + (1 - unmasked_weight) * inside
    return weight / weight.mean((2, 3), keepdim=True).clamp(min=LEAST_AREA)


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

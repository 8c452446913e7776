"""Pictures encoded once, with their masks and control images, and sampled in shuffled epochs, bucket by bucket."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from booth.core.family import Family, Posterior
from booth.core.rng import Rng, derived_seed
from booth.data.buckets import Shape, bucket_box, bucket_of, size_ids
from booth.data.control_images import ControlImages
from booth.data.crops import Crop, cut, square_box
from booth.data.latent_store import LatentStore
from booth.data.photos import Photo

ENCODED_TOGETHER = 4  # pictures; bounds the memory that the autoencoder takes
LEAST_AREA = 0.01  # of a picture: a smaller subject is not weighted up any further
NORMALS = "normals"  # the control whose control images are directions
Framing = Crop | Literal["buckets"]  # squares, or nearly whole photos


@dataclass(frozen=True)
class LatentRows:
    """One variant of each of some pictures."""

    mean: Tensor  # (B, C, h, w)
    std: Tensor  # (B, C, h, w)
    mask: Tensor | None  # (B, 1, h, w)
    control_image: Tensor | None  # (B, 3, H, W) in [0, 1]
    sizes: Tensor | None  # (B, 6)
    prompts: list[str]  # B of them


@dataclass(frozen=True)
class View:
    """A square or a bucket's part of a photo, and the same part of its mask and control image if it has them."""

    image: Image.Image
    mask: Image.Image | None
    control_image: Image.Image | None

    def mirrored(self, normals: bool = False) -> View:
        """All of it seen in a mirror; a control image of `normals` has x in red, which a mirror turns round."""
        image, mask, control_image = (
            part and ImageOps.mirror(part) for part in (self.image, self.mask, self.control_image)
        )
        assert image is not None
        if control_image is not None and normals:
            red, green, blue = control_image.convert("RGB").split()
            control_image = Image.merge("RGB", (ImageOps.invert(red), green, blue))
        return View(image, mask, control_image)


@dataclass(frozen=True)
class LatentBucket:
    """Encoded pictures of one shape, sampled in shuffled epochs: none comes again before all have come."""

    name: str
    pictures: list[Posterior]  # of each picture all its variants, (V, C, h, w)
    indices: list[int]  # what an epoch brings: each picture's index, as often as it is repeated
    masks: list[Tensor | None] | None = None  # of each picture (V, 1, h, w), of mean 1; none if no picture has one
    control_images: list[Tensor] | None = None  # of each picture those of its variants, (V, 3, H, W) uint8
    sizes: list[Tensor] | None = None  # of each picture its size ids (6,); none where pictures are squares

    def sample(self, rng: Rng, start: int, count: int) -> list[int]:
        """The pictures at places start ... start+count-1 of the endless sequence of epochs."""
        places = [divmod(place, len(self.indices)) for place in range(start, start + count)]
        orders = {epoch: self._order(rng.seed, epoch) for epoch, _ in places}
        return [self.indices[orders[epoch][place]] for epoch, place in places]

    def _order(self, seed: int, epoch: int) -> list[int]:
        # Derived from the seed and the epoch, so that a resumed run needs to be told nothing.
        generator = Rng(seed, step=epoch).generator(f"order of {self.name}")
        return torch.randperm(len(self.indices), generator=generator).tolist()

    def variants(self, rng: Rng, picked: list[int], prompts: list[str]) -> LatentRows:
        """One variant of each picked picture."""
        drawn = rng.uniform(f"variant of {self.name}", len(picked)).tolist()
        rows = [(i, int(u * len(self.pictures[i].mean))) for i, u in zip(picked, drawn)]
        mean = torch.stack([self.pictures[i].mean[v] for i, v in rows])
        std = torch.stack([self.pictures[i].std[v] for i, v in rows])
        mask = control_image = None
        if self.masks is not None:
            chosen = [(self.masks[i], v) for i, v in rows]
            mask = torch.stack([torch.ones_like(mean[0, :1]) if m is None else m[v] for m, v in chosen])
        if self.control_images is not None:
            control_image = torch.stack([self.control_images[i][v] for i, v in rows]).float() / 255
        sizes = None if self.sizes is None else torch.stack([self.sizes[i] for i in picked]).to(mean)
        return LatentRows(mean, std, mask, control_image, sizes, prompts)


@dataclass(frozen=True)
class LatentCache:
    """All encoded pictures of one kind, by the shape of their bucket; squares are one bucket.

    A batch is of one bucket. Batches come in epochs too: one for each index, of that index's bucket, and full whatever
    the number of pictures in it, so that every picture comes equally often in the long run.
    """

    name: str
    buckets: dict[Shape, LatentBucket]

    def batch_place(self, rng: Rng, start: int, count: int) -> tuple[Shape, int]:
        """Of which bucket the batch at places start ... start+count-1 is, and its first place in that bucket.

        With several buckets `start` is a multiple of `count`.
        """
        shapes = [shape for shape, bucket in self.buckets.items() for _ in bucket.indices]
        if len(self.buckets) == 1:
            return shapes[0], start
        epoch, place = divmod(start // count, len(shapes))
        order = torch.randperm(len(shapes), generator=Rng(rng.seed, step=epoch).generator(f"buckets of {self.name}"))
        drawn = [shapes[i] for i in order[: place + 1].tolist()]
        shape = drawn[-1]
        return shape, (epoch * shapes.count(shape) + drawn.count(shape) - 1) * count


def photo_latents(
    model: Family,
    photos: Sequence[Photo],
    name: str,
    crop: Framing,
    flip: bool,
    variants: int,
    unmasked_weight: float,
    control_images: ControlImages | None,
    store: LatentStore | None = None,
    on_photo: Callable[[], None] | None = None,
) -> LatentCache:
    """Encode all views of all photos: squares, or each photo in its bucket.

    Masks are left out where they would change nothing. The buckets of a cache share their pictures. `on_photo` is
    called after each, and may raise to end it: what the store has been given it keeps.
    """
    bucketed = crop == "buckets"
    side = model.resolution
    shapes = [bucket_of(p.image.size, side, model.bucket_step) if bucketed else (side, side) for p in photos]
    pictures: list[Posterior] = []
    masks: list[Tensor | None] = []
    followed: list[Tensor] = []
    for photo, shape in zip(photos, shapes, strict=True):
        views = _views(
            photo, shape, crop, flip, variants, normals=control_images is not None and control_images.control == NORMALS
        )
        pictures.append(_encode(model, [view.image for view in views], store))
        drawn = [view.mask for view in views if view.mask is not None]
        used = drawn and unmasked_weight < 1
        masks.append(_weights(drawn, pictures[-1].mean, unmasked_weight) if used else None)
        if control_images is not None:
            followed.append(
                control_images.of_views(
                    [v.image for v in views], [v.control_image for v in views if v.control_image is not None]
                )
            )
        if on_photo is not None:
            on_photo()
    indices = [i for i, photo in enumerate(photos) for _ in range(photo.repeats)]
    told = [torch.tensor(size_ids(p.size, shape)) for p, shape in zip(photos, shapes, strict=True)]
    known = (masks if any(m is not None for m in masks) else None, followed or None, told if bucketed else None)
    buckets = {
        shape: LatentBucket(_named(name, shape, bucketed), pictures, [i for i in indices if shapes[i] == shape], *known)
        for shape in sorted(set(shapes))
    }
    return LatentCache(name, buckets)


def class_latents(
    model: Family, images: Sequence[Image.Image], name: str, photos: LatentCache, store: LatentStore | None = None
) -> LatentCache:
    """Encode class pictures in one view for each of the photos' buckets: rows of a batch have one shape."""
    buckets: dict[Shape, LatentBucket] = {}
    for shape, beside in photos.buckets.items():
        parts = [cut(image, bucket_box(image, shape), shape) for image in images]
        encoded = _encode(model, parts, store)
        singles = [Posterior(m[None], s[None]) for m, s in zip(encoded.mean, encoded.std)]
        sizes = [torch.tensor(size_ids(image.size, shape)) for image in images] if beside.sizes else None
        own = _named(name, shape, beside.sizes is not None)
        buckets[shape] = LatentBucket(own, singles, list(range(len(singles))), sizes=sizes)
    return LatentCache(name, buckets)


def _named(name: str, shape: Shape, bucketed: bool) -> str:
    """A name of its own for each bucket: no two draw the same numbers."""
    return f"{name} {shape[0]}x{shape[1]}" if bucketed else name


def _views(photo: Photo, shape: Shape, crop: Framing, flip: bool, variants: int, normals: bool = False) -> list[View]:
    """All parts of a photo that will be learned from; where random crops lie depends on the photo alone."""
    if crop == "buckets":
        boxes = [bucket_box(photo.image, shape)]
    else:
        one = crop != "random" or photo.image.width == photo.image.height
        rngs = [random.Random(derived_seed(photo.sha256, "crop", i)) for i in range(1 if one else variants)]
        boxes = [square_box(photo.image, crop, rng) for rng in rngs]
    views = [
        View(
            cut(photo.image, box, shape),
            photo.mask and cut(photo.mask, box, shape, Image.Resampling.BOX),
            photo.control_image and cut(photo.control_image, box, shape),
        )
        for box in boxes
    ]
    return views + [view.mirrored(normals) for view in views] if flip else views


def _weights(masks: list[Image.Image], like: Tensor, unmasked_weight: float) -> Tensor:
    """What each place counts in the loss, (V, 1, h, w) for latents `like` (V, C, h, w).

    1 inside and `unmasked_weight` outside the mask, a latent's share of both at the edge; then of mean 1 in each view,
    so that a small subject's row keeps its share of the loss beside the others and the class rows.
    """
    pixels = torch.stack([torch.from_numpy(np.array(mask, dtype=np.float32)) for mask in masks])[:, None] / 255
    inside = F.adaptive_avg_pool2d(pixels, like.shape[2:]).to(like)  # type: ignore[arg-type]  # (V, 1, h, w)
    weight = unmasked_weight + (1 - unmasked_weight) * inside
    return weight / weight.mean((2, 3), keepdim=True).clamp(min=LEAST_AREA)


def _encode(model: Family, images: Sequence[Image.Image], store: LatentStore | None) -> Posterior:
    """The posterior of each RGB picture, all of one shape, float32; what the store holds is not encoded again."""

    def encode(some: Sequence[Image.Image]) -> Posterior:
        made = model.encode(torch.stack([pixels_of(image) for image in some]))
        return Posterior(made.mean.float(), made.std.float())

    device = next(next(iter(model.components().values())).parameters()).device
    groups = [images[i : i + ENCODED_TOGETHER] for i in range(0, len(images), ENCODED_TOGETHER)]
    parts = [encode(group) if store is None else store.posterior(group, encode) for group in groups]
    return Posterior(torch.cat([p.mean.to(device) for p in parts]), torch.cat([p.std.to(device) for p in parts]))


def pixels_of(image: Image.Image) -> Tensor:
    """(3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1

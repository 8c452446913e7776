"""Photos and class pictures, encoded once, as the batches that the loop learns from."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from PIL import Image
from torch import Tensor

from booth.core.batch import Batch
from booth.core.family import Family, Posterior
from booth.core.method import Subject
from booth.core.rng import Rng, derived_seed, moved
from booth.data.captions import shuffled_tags, with_subject
from booth.data.control_images import ControlImages
from booth.data.latent_store import LatentStore
from booth.data.latents import Framing, LatentCache, LatentRows, class_latents, photo_latents
from booth.data.photos import PhotoSet
from booth.data.tokens import fitted


@dataclass(frozen=True)
class TrainingSubject:
    """One subject's part of a run."""

    subject: Subject
    photos: PhotoSet
    prompts: list[str]  # for photos without a caption
    class_prompt: str  # what class rows are asked with
    class_images: list[Image.Image] = field(default_factory=list[Image.Image])


@dataclass(frozen=True)
class Preprocessing:
    """How photos and captions become rows."""

    crop: Framing = "center"
    flip: bool = False
    shuffle_tags: bool = False  # the comma-separated parts of a caption in another order each time
    keep_tags: int = 1  # how many of them stay in front
    unmasked_weight: float = 0.1  # what the places outside a photo's mask count in the loss
    variants: int = 8  # how many places of a photo a random crop takes


class PhotoBatches:
    """A BatchSource: rows of photos and, with prior preservation, as many class rows behind them.

    Photo rows weigh 1/n each and class rows prior_weight/m each, so that the loss is the mean over the photos plus
    lambda times the mean over the class rows (Ruiz et al., 2208.12242), whatever their numbers. Several subjects take
    turns, so that each has the same share, whatever the number of its photos.
    Class rows show class pictures or, with prior="prediction", the photos again, asked with the class prompt: what is
    then to be predicted there is not noise but the base's own answer, see booth.data.own_predictions.
    Only mean and deviation of the latents are kept, in float32: each step still draws a fresh latent.
    With crop="buckets" every batch is of one shape and so of one subject; subjects then take turns batch by batch, and
    class pictures are cut to the shape of the photos beside them.
    """

    def __init__(
        self,
        model: Family,
        subjects: Sequence[TrainingSubject],
        *,
        batch_size: int,
        prior_weight: float = 0.0,
        prior: str = "pictures",
        preprocessing: Preprocessing | None = None,
        caption_dropout: float = 0.0,
        accumulate: int = 1,
        control_images: ControlImages | None = None,
        store: LatentStore | None = None,
        on_photo: Callable[[], None] | None = None,
    ) -> None:
        """`accumulate` is the number of micro-batches in a step, `caption_dropout` the share of photos without prompt.

        With `control_images` each photo row carries one; there are none for class rows. What `store` holds is not
        encoded again. `on_photo` is called after each photo that is encoded, or found.
        """
        if "vae" in model.components() and model.trainable_in("vae"):
            raise ValueError("latents cannot be cached while the autoencoder is trained")
        if prior_weight > 0 and control_images is not None:
            raise ValueError("class rows have no hints")
        self.batch_size = batch_size
        self.prior_weight = prior_weight
        self.accumulate = accumulate
        self.caption_dropout = caption_dropout
        pictures = prior_weight > 0 and prior == "pictures"
        how = preprocessing or Preprocessing()
        self._in_buckets = how.crop == "buckets"
        self._encoded = [
            _EncodedSubject(model, training, how, pictures, control_images, i, store, on_photo)
            for i, training in enumerate(subjects)
        ]

    def __call__(self, rng: Rng) -> Batch:
        turns = self._turns(rng.step * self.accumulate + rng.micro)
        rows = [encoded.photo_rows(rng, start, count, self.caption_dropout) for encoded, start, count in turns]
        weight = [1 / self.batch_size] * self.batch_size
        if self.prior_weight > 0:
            rows += [encoded.class_rows(rng, start, count) for encoded, start, count in turns]
            weight += [self.prior_weight / self.batch_size] * self.batch_size
        mean, std = torch.cat([r.mean for r in rows]), torch.cat([r.std for r in rows])
        mask: Tensor | None = None
        if any(r.mask is not None for r in rows):
            mask = torch.cat([torch.ones_like(r.mean[:, :1]) if r.mask is None else r.mask for r in rows])
        latents = Posterior(mean, std).sample(rng.normal("posterior", mean))
        prompts = [prompt for r in rows for prompt in r.prompts]
        control_images = [r.control_image for r in rows if r.control_image is not None]
        control = moved(torch.cat(control_images), latents) if control_images else None
        told = [r.sizes for r in rows if r.sizes is not None]
        sizes = torch.cat(told) if told else None
        return Batch(prompts, latents, moved(torch.tensor(weight), latents), control, mask, sizes=sizes)

    def prompts(self) -> list[str] | None:
        """Every prompt that a batch can have, each once; None where shuffled tags make too many to tell."""
        found: dict[str, None] = {}
        for encoded in self._encoded:
            if encoded.preprocessing.shuffle_tags and any(encoded.captions):
                return None
            found |= dict.fromkeys(c for c in encoded.captions if c)
            if not all(encoded.captions):
                found |= dict.fromkeys(encoded.prompts)
            if self.prior_weight > 0:
                found[encoded.class_prompt] = None
        return [*found, *([""] if self.caption_dropout > 0 and "" not in found else [])]

    def _turns(self, number: int) -> list[tuple[_EncodedSubject, int, int]]:
        """Who has which places of batch `number`: each subject with its own first place and how many."""
        if self._in_buckets:
            round_, i = divmod(number, len(self._encoded))
            return [(self._encoded[i], round_ * self.batch_size, self.batch_size)]
        start = number * self.batch_size
        turns: list[tuple[_EncodedSubject, int, int]] = []
        for i, encoded in enumerate(self._encoded):
            own = [
                p // len(self._encoded) for p in range(start, start + self.batch_size) if p % len(self._encoded) == i
            ]
            if own:
                turns.append((encoded, own[0], len(own)))
        return turns


class _EncodedSubject:
    """A subject with its pictures encoded."""

    def __init__(
        self,
        model: Family,
        training: TrainingSubject,
        preprocessing: Preprocessing,
        class_pictures: bool,
        control_images: ControlImages | None,
        index: int,
        store: LatentStore | None,
        on_photo: Callable[[], None] | None,
    ) -> None:
        if class_pictures and not training.class_images:
            raise ValueError("prior preservation needs class pictures")
        self.prompts = training.prompts
        self.class_prompt = training.class_prompt
        moved = preprocessing.shuffle_tags
        self.captions = [
            p.caption and fitted(model, with_subject(p.caption, training.subject), training.subject, front=moved)
            for p in training.photos.photos
        ]
        self.preprocessing = preprocessing
        self.suffix = f" {index}" if index else ""  # no two subjects draw the same numbers
        how = (
            preprocessing.crop,
            preprocessing.flip,
            preprocessing.variants,
            preprocessing.unmasked_weight,
            control_images,
        )
        self.photos = photo_latents(model, training.photos.photos, f"photos{self.suffix}", *how, store, on_photo)
        self.pictures: LatentCache | None = None
        if class_pictures:
            self.pictures = class_latents(
                model, training.class_images, f"class pictures{self.suffix}", self.photos, store
            )

    def photo_rows(self, rng: Rng, start: int, count: int, dropout: float) -> LatentRows:
        """The photos at these places of this subject's sequence; a share `dropout` of them without prompt."""
        shape, first = self.photos.batch_place(rng, start, count)
        bucket = self.photos.buckets[shape]
        picked = bucket.sample(rng, first, count)
        return bucket.variants(rng, picked, self._words(rng, picked, dropout))

    def class_rows(self, rng: Rng, start: int, count: int) -> LatentRows:
        """As many class pictures or, without any, the same photos, both with the class prompt."""
        shape, first = self.photos.batch_place(rng, start, count)
        bucket = (self.pictures or self.photos).buckets[shape]
        rows = bucket.variants(rng, bucket.sample(rng, first, count), [self.class_prompt] * count)
        return replace(rows, mask=None, control_image=None)

    def _words(self, rng: Rng, picked: list[int], dropout: float) -> list[str]:
        """A photo's caption, or else a template; now and then nothing, where captions are dropped."""
        templates = rng.integers(f"prompt{self.suffix}", len(self.prompts), len(picked)).tolist()
        dropped = (rng.uniform(f"caption dropout{self.suffix}", len(picked)) < dropout).tolist()
        captions = [self.captions[i] for i in picked]
        if self.preprocessing.shuffle_tags:
            orders = random.Random(derived_seed(rng.seed, rng.step, rng.micro, f"tags{self.suffix}"))
            captions = [c and shuffled_tags(c, self.preprocessing.keep_tags, orders) for c in captions]
        return ["" if drop else c or self.prompts[t] for c, t, drop in zip(captions, templates, dropped)]

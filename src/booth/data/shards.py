"""Large sets of pictures in tar files as webdataset lays them out, read and encoded as they are needed."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import torch
from PIL import Image
from torch import Tensor

from booth.core.batch import Batch
from booth.core.errors import BadDataError
from booth.core.family import Family
from booth.core.method import Subject
from booth.core.reading import decode_text
from booth.core.rng import Rng, moved
from booth.data.captions import CAPTION_SUFFIXES, MAX_CAPTION_BYTES, caption_of, with_subject
from booth.data.control_images import maker_of, tensor_of
from booth.data.crops import square
from booth.data.decoding import MAX_BYTES, decode
from booth.data.latents import pixels_of
from booth.data.tokens import fitted

SUFFIX = ".tar"
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
HINTS = ("hint", "control", "conditioning", "conditioning_image", "cond")  # what stands before a hint's suffix


def are_shards(photos: Sequence[Path]) -> bool:
    """Whether what is to be learned from are tar files, and nothing else."""
    return bool(photos) and all(path.suffix.lower() == SUFFIX for path in photos)


@dataclass(frozen=True)
class Place:
    """Where a file's content lies in a shard."""

    shard: Path
    name: str
    start: int
    size: int

    def read(self, most: int) -> bytes:
        """The content; BadDataError where it is larger than `most` bytes."""
        if self.size > most:
            raise BadDataError(f"has {self.size:,} bytes", f"at most {most:,} can be read", code="photo.large")
        with self.shard.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)

    def __str__(self) -> str:
        return f"{self.name!r} in {self.shard}"  # quoted: whoever made the tar chose the name


@dataclass
class Sample:
    """The files of one picture."""

    picture: Place | None = None
    hint: Place | None = None
    caption: Place | None = None


@dataclass(frozen=True)
class Shards:
    """The samples of some tar files in their order: a picture, its caption and its hint, if it has them.

    The files of a sample follow one another and share their name up to the first dot of its last part: `cat/001.jpg`,
    `cat/001.txt`, `cat/001.hint.png`. Only headers are read until a sample is asked for. Names are never used as paths,
    and links are passed over. BadDataError for a file that is no plain tar, for one without any picture, and where some
    pictures have a hint and some have none.
    """

    files: Sequence[Path]
    samples: list[Sample] = field(init=False)

    def __post_init__(self) -> None:
        found = [sample for file in self.files for sample in _samples_of(file) if sample.picture is not None]
        object.__setattr__(self, "samples", found)
        hinted = sum(sample.hint is not None for sample in found)
        if 0 < hinted < len(found):
            raise BadDataError(
                f"{len(found) - hinted} of {len(found)} pictures in the shards have no hint beside them.",
                "Lay one beside each, or none.",
                code="hints.some_missing",
                field="photos",
            )

    @property
    def hinted(self) -> bool:
        """Whether each picture has a hint of its own."""
        return self.samples[0].hint is not None

    def in_words(self) -> str:
        """What there is, in a sentence."""
        captions = sum(sample.caption is not None for sample in self.samples)
        files = f"{len(self.files)} shard{'s' * (len(self.files) > 1)}"
        return (
            f"{len(self.samples)} pictures in {files}, {captions} of them with a caption; each is encoded as it comes."
        )


class ShardBatches:
    """A BatchSource over shards: shuffled epochs of central squares, encoded by the base's autoencoder at each step.

    Nothing is kept but the order, so that memory does not grow with the set. Captions have the subject put in front, as
    those of photos; pictures without one are learned with one of `prompts`, a share `caption_dropout` of all with no
    prompt. Hints of `control` are made from the squares where the shards bring none.
    """

    encodes = True  # at each step, so that the autoencoder has to stay

    def __init__(
        self,
        shards: Shards,
        model: Family,
        subject: Subject,
        prompts: Sequence[str],
        *,
        batch_size: int,
        accumulate: int = 1,
        caption_dropout: float = 0.0,
        control: str | None = None,
    ) -> None:
        self.shards, self.model, self.subject, self.prompts = shards, model, subject, list(prompts)
        self.batch_size, self.accumulate, self.caption_dropout = batch_size, accumulate, caption_dropout
        self._follows = control is not None
        self._make = maker_of(control) if control is not None and not shards.hinted else None
        self._orders: dict[tuple[int, int], list[int]] = {}
        self._last: tuple[Rng, Batch] | None = None  # a step that is made again, or counted first, encodes once

    @property
    def digest(self) -> str:
        """A sha256 of what lies in the shards, by names and sizes, whose contents would take too long to read."""
        listed = [[str(part and (part.name, part.size)) for part in vars(s).values()] for s in self.shards.samples]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    def __call__(self, rng: Rng) -> Batch:
        if self._last is None or self._last[0] != rng:
            self._last = rng, self._dealt(rng)
        return self._last[1]

    def _dealt(self, rng: Rng) -> Batch:
        start = (rng.step * self.accumulate + rng.micro) * self.batch_size
        rows = [self.shards.samples[self._at(rng.seed, place)] for place in range(start, start + self.batch_size)]
        squares = [self._square(row.picture) for row in rows]
        with torch.no_grad():
            posterior = self.model.encode(torch.stack([pixels_of(picture) for picture in squares]))
        mean = posterior.mean.float()
        latents = posterior.sample(rng.normal("posterior", mean)).float()
        control: Tensor | None = None
        if self._follows:
            hints = [self._make(s) if self._make else self._square(r.hint) for s, r in zip(squares, rows, strict=True)]
            control = moved(tensor_of(hints).float() / 255, latents)
        weight = torch.full((self.batch_size,), 1 / self.batch_size)
        return Batch(self._words(rng, rows), latents, moved(weight, latents), control)

    def _at(self, seed: int, place: int) -> int:
        """The sample at a place of the endless sequence of epochs."""
        epoch, i = divmod(place, len(self.shards.samples))
        if (seed, epoch) not in self._orders:
            if len(self._orders) > 1:  # a step looks into two epochs at most
                self._orders.clear()
            generator = Rng(seed, step=epoch).generator("order of shards")
            self._orders[seed, epoch] = torch.randperm(len(self.shards.samples), generator=generator).tolist()
        return self._orders[seed, epoch][i]

    def _square(self, place: Place | None) -> Image.Image:
        assert place is not None
        try:
            return square(decode(place.read(MAX_BYTES)), self.model.resolution, "center")
        except BadDataError as error:
            raise error.about(str(place), field="photos") from error

    def _words(self, rng: Rng, rows: Sequence[Sample]) -> list[str]:
        templates = rng.integers("prompt", len(self.prompts), len(rows)).tolist()
        dropped = (rng.uniform("caption dropout", len(rows)) < self.caption_dropout).tolist()
        captions = [_caption(row.caption) for row in rows]
        told = [c and fitted(self.model, with_subject(c, self.subject), self.subject) for c in captions]
        words = [caption or self.prompts[t] for caption, t in zip(told, templates, strict=True)]
        return ["" if drop else text for text, drop in zip(words, dropped, strict=True)]


def _caption(place: Place | None) -> str | None:
    if place is None:
        return None
    try:
        return caption_of(decode_text(place.read(MAX_CAPTION_BYTES)), PurePosixPath(place.name).suffix.lower())
    except BadDataError as error:
        raise error.about(str(place), field="photos") from error


def _samples_of(file: Path) -> Iterator[Sample]:
    """Every sample of a shard, in its order."""
    samples: dict[str, Sample] = {}
    try:
        with tarfile.open(file, "r:") as shard:
            for member in shard:
                if member.isreg():
                    _sort(Place(file, member.name, member.offset_data, member.size), samples)
    except (OSError, tarfile.TarError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no plain tar file"
        raise BadDataError(
            f"{file} cannot be read: {reason}.",
            "Give tar files that are not compressed.",
            code="shard.unreadable",
            field="photos",
        ) from error
    if not any(sample.picture for sample in samples.values()):
        raise BadDataError(
            f"{file} holds no pictures ({', '.join(PICTURES)}).", "Leave it out.", code="shard.empty", field="photos"
        )
    yield from samples.values()


def _sort(place: Place, samples: dict[str, Sample]) -> None:
    """Put a file where it belongs, by its name: what is neither picture, hint nor caption is left alone."""
    path = PurePosixPath(place.name)
    key, _, extension = path.name.partition(".")
    if not key:
        return  # a hidden file, as macOS leaves them
    inner, suffix = extension.lower().rpartition(".")[0], path.suffix.lower()
    kind = "caption" if suffix in CAPTION_SUFFIXES and not inner else None
    if suffix in PICTURES:
        kind = "hint" if inner in HINTS else None if inner else "picture"
    if kind is not None:
        sample = samples.setdefault(str(path.parent / key), Sample())
        if getattr(sample, kind) is None:
            setattr(sample, kind, place)

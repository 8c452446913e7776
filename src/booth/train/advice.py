"""What a run says before its first step of its photos, its base and its layers, and what to do if memory runs out."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

from booth.config import RunConfig
from booth.core.errors import OutOfMemoryError
from booth.core.family import Family
from booth.core.method import Method, Stage, Subject
from booth.core.places import printable
from booth.data.buckets import bucket_of
from booth.data.captions import with_subject
from booth.data.framing import framed
from booth.data.photos import Photo, PhotoSet
from booth.data.tokens import Length, advice_on_token, fitted, length_of
from booth.families.recognition import advice_on_base
from booth.registry import METHODS
from booth.train.ladder import is_out_of_memory

LEAST_SHARE = 0.5  # of a photo: where less is used, that is told


def in_buckets(photos: Sequence[Photo], model: Family) -> str:
    """How many photos go into each bucket, in words."""
    found = Counter(bucket_of(p.image.size, model.resolution, model.bucket_step) for p in photos)
    return f"Photos in buckets: {', '.join(f'{count} in {w}x{h}' for (w, h), count in sorted(found.items()))}."


def coverage_in_words(plan: Iterable[Stage], model: Family) -> list[str]:
    """Which kinds of layers each adapter of a plan adapts and leaves; UsageError for a named kind that is not there."""
    told: list[str] = []
    for stage in plan:
        adapted: list[str] = []
        left: list[str] = []
        for component, kinds in stage.method.coverage(model).items():
            some = [f"{kind} {n} of {count}" for kind, (n, count) in kinds.items() if n]
            none = [f"{kind} {count}" for kind, (n, count) in kinds.items() if not n]
            adapted += [f"in the {component} {', '.join(some)}"] if some else []
            left += [f"in the {component} {', '.join(none)}"] if none else []
        if adapted:
            rest = f"; it leaves {'; '.join(left)}" if left else ""
            told.append(f"{stage.method.title} adapts these layers: {'; '.join(adapted)}{rest}.")
    return told


def advice(config: RunConfig, model: Family, method: Method, taught: Iterable[tuple[Subject, PhotoSet]]) -> list[str]:
    """Warnings about the base, the token and the folders' names, before anything is trained."""
    distilled = advice_on_base(config.base, model.base)
    others = [
        f"The photos lie in a folder called for {photos.token} {photos.noun}, and are taught as {subject.name}."
        for subject, photos in taught
        if subject.name and photos.token and (photos.token, photos.noun) != (subject.token, subject.noun)
    ]
    told = [*([distilled] if distilled else []), *advice_on_token(model, method), *others]
    for subject, photos in taught:
        told += advice_on_photos(config, model, method, subject, photos)
    return told


def advice_on_photos(config: RunConfig, model: Family, method: Method, subject: Subject, photos: PhotoSet) -> list[str]:
    """Warnings about what of the photos and of what lies beside them is not learned from."""
    told: list[str] = []
    views = [(p, framed(p, config.crop, model.resolution, model.bucket_step)) for p in photos.photos]
    small = [(p, view.share) for p, view in views if view.share < LEAST_SHARE]
    if small:
        worst, share = min(small, key=lambda each: each[1])
        how = "Cut them" if config.crop == "buckets" else "Set crop=buckets, or cut them"
        told.append(
            f"Less than half of {len(small)} of {len(views)} photos is used, such as {share:.0%} of "
            f"{printable(worst.path.name)}. {how} to what matters."
        )
    if flat := [p for p, view in views if view.flat]:
        told.append(
            f"What is used of {len(flat)} of {len(views)} photos is one flat colour, such as of "
            f"{printable(flat[0].path.name)}. Cut them to the subject, or set another crop."
        )
    lengths = caption_lengths(config, model, method, subject, photos)
    if long := [(p, length) for p, length in zip(photos.photos, lengths, strict=True) if length and length.lost]:
        photo, length = max(long, key=lambda each: each[1].tokens)
        told.append(
            f"{len(long)} of {len(views)} captions are longer than the {length.limit} tokens that {model.title} reads, "
            f"such as that of {printable(photo.path.name)} with {length.tokens}, which loses {length.lost[:60]!r}. "
            "The subject is put in front where it would be cut."
        )
    hinted = sum(p.control_image is not None for p in photos.photos)
    masked = sum(p.mask is not None for p in photos.photos)
    if hinted and not method.control():
        told.append(f"{hinted} photos have hints, which {method.title} does not follow: they are not used.")
    if masked and config.unmasked_weight == 1:
        told.append(f"{masked} photos have masks, which are not used: unmasked_weight is 1.")
    return told


def caption_lengths(
    config: RunConfig, model: Family, method: Method, subject: Subject, photos: PhotoSet
) -> list[Length | None]:
    """How long each photo's caption is as it is learned with; None without one, and for a base without a limit."""
    return [
        length_of(model, fitted(model, with_subject(p.caption, subject), subject, front=config.shuffle_tags))
        if p.caption
        else None
        for p in photos.photos
    ]


@contextmanager
def advice_on_memory(config: RunConfig, settings: dict[str, Any]) -> Generator[None]:
    """Turn running out of memory into an OutOfMemoryError that says what to try; `settings` is filled in meanwhile."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise _out_of_memory(config, settings) from error


def _out_of_memory(config: RunConfig, settings: dict[str, Any]) -> OutOfMemoryError:
    """Advice in the order of what costs least, leaving out what is done already."""
    advice: list[str] = []
    batch, accumulate = settings.get("batch_size", 1), settings.get("accumulate", 1)
    if batch > 1:
        smaller = (batch + 1) // 2
        advice.append(f"`batch_size={smaller}` and `accumulate={accumulate * 2}`")
    if not settings.get("gradient_checkpointing"):
        advice.append("`gradient_checkpointing=true`")
    if settings.get("memory"):
        advice.append(f"`memory={settings['memory']}`")
    if settings.get("optimizer") == "adamw" and importlib.util.find_spec("bitsandbytes"):
        advice.append("`optimizer=adamw8bit`")
    if METHODS[config.method].trains_denoiser:
        advice.append("`method=lora`")
    advice.append("close what else uses the memory")
    return OutOfMemoryError(
        "Out of memory. The last checkpoint is kept.",
        f"In this order, try: {'; '.join(advice)}.",
        code="memory.out",
        field="settings.batch_size",
    )

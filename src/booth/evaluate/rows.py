"""The rows of an evaluation: the concept, and beside it the references without which its numbers mean nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL.Image import Image

from booth.core.family import Family
from booth.core.method import Subject
from booth.core.metric import Drawn, Evidence
from booth.evaluate.masks import Masks
from booth.evaluate.pictures import kept, kept_for_all
from booth.evaluate.protocol import Protocol

CONCEPT, BASE, IMAGE_ONLY, PROMPT_ONLY = "concept", "base", "image_only", "prompt_only"
TITLES = {
    CONCEPT: "the concept",
    BASE: "untouched base, same prompts and seeds",
    IMAGE_ONLY: "image only: the photos themselves",
    PROMPT_ONLY: "prompt only: the base without the token",
}


@dataclass(frozen=True)
class Photos:
    """Photos of the subject: what was learned from, and what pictures are compared with."""

    training: Sequence[Image]
    references: Sequence[Image]
    held_out: bool  # whether the references were kept from training
    masks: Masks  # where the subject is in them and in drawings
    lookalikes: Sequence[Image] = ()


@dataclass(frozen=True)
class Untouched:
    """What the base draws before anything is attached; the same for every concept of a subject."""

    drawn: list[Drawn]
    prompt_only: list[Drawn]
    class_pictures: list[Image]
    unrelated: list[Image]


def draw_untouched(model: Family, base_hash: str, subject: Subject, protocol: Protocol, folder: Path) -> Untouched:
    """Draw (or find again in `folder`) all that the bare base has to show."""
    rows, about = protocol.rows(subject), {"base": base_hash}
    named = kept_for_all(folder / "base", about, model, [(p, s) for p, _, s in rows], protocol)
    plain = kept_for_all(folder / "prompt_only", about, model, [(q, s) for _, q, s in rows], protocol)
    return Untouched(
        [Drawn(image, *row) for image, row in zip(named, rows, strict=True)],
        [Drawn(image, *row) for image, row in zip(plain, rows, strict=True)],
        kept_for_all(folder / "base_class", about, model, protocol.class_rows(subject), protocol),
        kept_for_all(folder / "base_unrelated", about, model, protocol.unrelated_rows(subject), protocol),
    )


def draw_concept(
    model: Family,
    about: Mapping[str, object],
    subject: Subject,
    protocol: Protocol,
    folder: Path,
    untouched: Untouched,
    photos: Photos,
    cost: Mapping[str, float],
) -> Evidence:
    """Draw (or find again) the same with the concept attached to the model, as evidence for the metrics."""
    rows = protocol.rows(subject)
    drawn = kept(folder / "concept_pictures", about, model, [(p, s) for p, _, s in rows], protocol)
    return Evidence(
        subject,
        [Drawn(image, *row) for image, row in zip(drawn, rows, strict=True)],
        photos.references,
        photos.training,
        untouched.drawn,
        kept(folder / "concept_class", about, model, protocol.class_rows(subject), protocol),
        untouched.class_pictures,
        kept(folder / "concept_unrelated", about, model, protocol.unrelated_rows(subject), protocol),
        untouched.unrelated,
        photos.lookalikes,
        cost,
        subject_mask=photos.masks,
    )


def reference_rows(subject: Subject, protocol: Protocol, untouched: Untouched, photos: Photos) -> dict[str, Evidence]:
    """The rows that any concept of the subject is set beside."""
    base = Evidence(
        subject,
        untouched.drawn,
        photos.references,
        photos.training,
        class_drawn=untouched.class_pictures,
        lookalikes=photos.lookalikes,
        subject_mask=photos.masks,
    )
    prompts = dict.fromkeys((prompt, plain) for prompt, plain, _ in protocol.rows(subject))
    shown = [
        Drawn(image, prompt, plain, 0, i) for prompt, plain in prompts for i, image in enumerate(photos.references)
    ]
    return {
        BASE: base,
        IMAGE_ONLY: replace(base, drawn=shown, class_drawn=(), photos=()),
        PROMPT_ONLY: replace(base, drawn=untouched.prompt_only, class_drawn=()),
    }

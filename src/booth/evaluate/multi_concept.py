"""Several subjects in use at once: each asked for alone, and all of them in one prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL.Image import Image

from booth.core.family import Family
from booth.core.method import Subject
from booth.core.metric import Drawn, Shared
from booth.evaluate.pictures import kept
from booth.evaluate.protocol import Protocol
from booth.generate.concepts import Applied, attached

Rows = list[tuple[str, str, int]]  # (prompt, prompt without the rare token, seed)


@dataclass(frozen=True)
class ConceptInUse:
    """One concept with the subjects that it was taught, and the references of each."""

    applied: Applied
    subjects: Sequence[Subject]
    references: Sequence[Sequence[Image]]


def draw_together(
    model: Family, base_hash: str, members: Sequence[ConceptInUse], protocol: Protocol, folder: Path
) -> tuple[list[Shared], list[Drawn]]:
    """Draw (or find again) each subject of `members` by the base, by its own concept and with all loaded; then all.

    A concept alone is drawn only where there are several: what was taught in one run cannot be taken apart.
    """
    few = protocol.few()
    subjects = [subject for member in members for subject in member.subjects]
    rows = [few.rows(subject) for subject in subjects]
    every: list[Applied] = [member.applied for member in members]

    def drawn(name: str, concepts: Sequence[Applied], own: Rows) -> list[Drawn]:
        about = {"base": base_hash, "concepts": [_content(applied) for applied in concepts]}
        images = kept(folder / name, about, model, [(prompt, seed) for prompt, _, seed in own], few)
        return [Drawn(image, *row) for image, row in zip(images, own, strict=True)]

    untouched = [drawn(f"{i}_untouched", [], own) for i, own in enumerate(rows)]
    alone: list[list[Drawn]] = [[] for _ in subjects]
    first = 0
    for member in members if len(members) > 1 else ():
        with attached(model, [member.applied]):
            for i in range(first, first + len(member.subjects)):
                alone[i] = drawn(f"{i}_alone", [member.applied], rows[i])
        first += len(member.subjects)
    with attached(model, every):
        loaded = [drawn(f"{i}_loaded", every, own) for i, own in enumerate(rows)]
        together = drawn("together", every, few.rows(all_of(subjects)))
    references = [photos for member in members for photos in member.references]
    return [Shared(*one) for one in zip(subjects, references, loaded, alone, untouched, strict=True)], together


def all_of(subjects: Sequence[Subject]) -> Subject:
    """What names all of them in one prompt: "sks dog, a zwx cat and a ohwx car", after the template's own article."""
    *before, last = [subject.name for subject in subjects]
    return replace(subjects[0], token="", noun=f"{', a '.join(before)} and a {last}", others=())


def _content(applied: Applied) -> list[Any]:
    record = applied.concept.record
    return [record.created, record.sizes, record.seed, applied.strength]

"""The prompt card: the strength, the guidance scale and three prompts that were found to work for a concept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from booth.concept import Concept
from booth.core.commit import committed_file
from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.generate.concepts import Applied, attached
from booth.generate.draw import draw

FILE = "prompt-card.json"
STRENGTHS = (0.6, 0.8, 1.0, 1.2)
GUIDANCES = (3.0, 5.0, 7.5)
PLACES = ("", " on the beach", " in the jungle", " in the snow", " on a wooden floor", " with a city in the background")
KEPT = 3  # prompts on a card

Judge = Callable[[Sequence[Image], Sequence[str]], Sequence[float]]  # a score a picture, the best highest


class PromptCard(BaseModel):
    """What to draw a concept with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strength: float | None  # None where the method has none
    guidance: float
    prompts: tuple[str, ...]
    score: float  # of the best setting, by the judge named
    judge: str


def read_prompt_card(folder: Path) -> PromptCard | None:
    """The card of a concept, if one was made; BadDataError for one that cannot be read."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        return PromptCard.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise BadDataError(
            f"{file} cannot be read.", "Delete it, or make it again.", code="prompt_card.unreadable", field="concept"
        ) from error


def write_prompt_card(folder: Path, card: PromptCard) -> Path:
    """Put a card into a concept's folder; the weights and their manifest stay as they are."""
    with committed_file(folder / FILE) as file:
        file.write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return folder / FILE


def make_prompt_card(
    model: Family,
    concept: Concept,
    judge: Judge,
    name: str,
    *,
    strengths: Sequence[float] = STRENGTHS,
    guidances: Sequence[float] = GUIDANCES,
    steps: int = 20,
    seed: int = 0,
    on_setting: Callable[[int, int], None] | None = None,
) -> PromptCard:
    """Draw the same prompts and seeds at every setting; the best mean score wins, and its three best prompts are kept.

    `name` says who judges; `on_setting` hears how many settings of how many are done.
    """
    prompts = [f"{concept.record.prompt}{place}" for place in PLACES]
    seeds = [seed + i for i in range(len(prompts))]
    scaled = all(method.has_strength for method in concept.methods())
    tried = [(s, g) for s in (strengths if scaled else (None,)) for g in guidances]
    best: PromptCard | None = None
    for done, (strength, guidance) in enumerate(tried, start=1):
        with attached(model, [Applied(concept, strength)]):
            pictures = draw(model, prompts, seeds, steps=steps, guidance=guidance)
        scores = list(judge(pictures, prompts))
        mean = sum(scores) / len(scores)
        if best is None or mean > best.score:
            ranked = sorted(zip(scores, prompts, strict=True), key=lambda pair: -pair[0])
            kept = tuple(prompt for _, prompt in ranked[:KEPT])
            best = PromptCard(strength=strength, guidance=guidance, prompts=kept, score=round(mean, 4), judge=name)
        if on_setting is not None:
            on_setting(done, len(tried))
    if best is None:
        raise UsageError(
            "A prompt card needs at least one strength and one guidance scale.", code="prompt_card.nothing_asked"
        )
    return best

"""DreamBooth's protocol, and what it leaves open, decided: prompts, seeds and how pictures are drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.method import Subject
from booth.data.prior import class_prompt
from booth.generate.draw import STEPS
from booth.generate.prompts import read_prompts
from booth.world.vocabulary import NOUNS

FOLDER = Path(__file__).parent / "prompts"
SUITES = ("objects", "live")
STYLES = "styles"  # the suite of every style; no subject has it
PLACEHOLDER = "{}"
# Nouns of living things beside those of the world; other nouns are taken for objects unless a suite is named.
LIVE = frozenset({"animal", "baby", "boy", "child", "girl", "hamster", "man", "person", "pet", "pig", "woman", "wolf"})
SEEDS = 4
DRIFT = 48  # pictures of the class, and as many of unrelated prompts
QUICK_PROMPTS, QUICK_DRIFT, QUICK_STEPS = 6, 12, 15


@dataclass(frozen=True)
class Protocol:
    """What is drawn for an evaluation; two evaluations are comparable where this is the same."""

    templates: tuple[str, ...]  # each with {} for the subject
    suite: str  # "objects", "live", or the name of the user's file
    seeds: tuple[int, ...]
    drift: int = DRIFT
    steps: int = STEPS
    guidance: float | None = None  # none = the family's own
    scheduler: str | None = None
    quick: bool = False

    def rows(self, subject: Subject) -> list[tuple[str, str, int]]:
        """(prompt, prompt without the rare token, seed) of every picture of the subject, prompt by prompt."""
        prompts = paired_prompts(self.templates, subject)
        return [(prompt, plain, seed) for prompt, plain in prompts for seed in self.seeds]

    def class_rows(self, subject: Subject) -> list[tuple[str, int]]:
        """(prompt, seed) of every picture of the class, which for a style is any picture."""
        return [(class_prompt(subject.noun, subject.kind), 10_000 + i) for i in range(self.drift)]

    def unrelated_rows(self, subject: Subject) -> list[tuple[str, int]]:
        """(prompt, seed) of pictures that have to do with neither the subject nor its class."""
        own = re.compile(rf"\b{re.escape(subject.noun)}\b", re.IGNORECASE)
        every = read_prompts(FOLDER / "unrelated.txt")
        prompts = [p for p in every if not own.search(p.removeprefix("a photo of "))]
        return [(prompts[i % len(prompts)], 20_000 + i) for i in range(self.drift)]

    def few(self) -> Protocol:
        """With a few of the prompts, evenly from first to last."""
        return replace(self, templates=_spread(self.templates, QUICK_PROMPTS))

    def on(self, model: Family) -> Protocol:
        """With what is drawn on this base where nothing else was said."""
        return self if self.guidance is not None else replace(self, guidance=model.guidance)

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        values = asdict(self)
        return values | {"templates": list(self.templates), "seeds": list(self.seeds)}


def make_protocol(
    noun: str,
    *,
    kind: Literal["subject", "style"] = "subject",
    prompts: Path | None = None,
    suite: str | None = None,
    seeds: Sequence[int] | None = None,
    drift: int | None = None,
    guidance: float | None = None,
    quick: bool = False,
) -> Protocol:
    """DreamBooth's 25 prompts x 4 seeds for this noun, as many for a style, or a file's; `quick` draws a sixth of that.

    Raises BadDataError for a prompt file without placeholders, UsageError for a suite that there is not.
    """
    if suite is not None and suite not in SUITES:
        raise UsageError(
            f"There is no prompt suite {suite!r}.",
            f"There are {' and '.join(SUITES)}; or use `prompts` FILE.",
            code="suite.unknown",
            field="suite",
        )
    if suite is not None and kind == "style":
        raise UsageError(
            "A style has its own prompts.",
            "Leave `suite` out, or use `prompts` FILE.",
            code="suite.for_subjects",
            field="suite",
        )
    chosen = STYLES if kind == "style" else suite or ("live" if is_live(noun) else "objects")
    templates = read_templates(prompts) if prompts else read_templates(FOLDER / f"{chosen}.txt")
    if quick:
        templates = _spread(templates, QUICK_PROMPTS)
    if seeds is not None and not seeds:
        raise UsageError(
            "No seed is given.", "Leave `seeds` out, or give a number of at least 1.", code="seeds.none", field="seeds"
        )
    given = tuple(seeds) if seeds is not None else tuple(range(2 if quick else SEEDS))
    pictures = drift if drift is not None else QUICK_DRIFT if quick else DRIFT
    name = prompts.name if prompts else chosen
    return Protocol(templates, name, given, pictures, QUICK_STEPS if quick else STEPS, guidance, quick=quick)


def read_templates(file: Path) -> tuple[str, ...]:
    """One prompt a line with {} for the subject; BadDataError names the first line that has none."""
    templates = tuple(read_prompts(file))
    for template in templates:
        if PLACEHOLDER not in template:
            raise BadDataError(
                f"{file}: the prompt {template!r} has no {PLACEHOLDER}, where the subject's name goes.",
                f"Write it as in 'a photo of {PLACEHOLDER} on the beach'.",
                code="prompt.no_placeholder",
                field="prompts",
            )
    return templates


def is_live(noun: str) -> bool:
    """Whether DreamBooth's prompts for live subjects suit the noun, however it is capitalised."""
    known = noun.casefold()
    return known in LIVE or (known in NOUNS and NOUNS[known].live)


def paired_prompts(templates: Sequence[str], subject: Subject) -> list[tuple[str, str]]:
    """(prompt, the same without the rare token) of each template: "a sks dog asleep" and "a dog asleep".

    Without its token a style is none, so that "a picture of a dog in sks style" becomes "a picture of a dog".
    """
    plain = _without_style if subject.kind == "style" else _plain
    return [(t.replace(PLACEHOLDER, subject.name), plain(t, subject.noun)) for t in templates]


def _plain(template: str, noun: str) -> str:
    """The template filled with the noun alone, "a" made "an" where the noun wants it."""
    article = re.compile(rf"\b([Aa])n? {re.escape(PLACEHOLDER)}")
    an = "n" if noun.lower().startswith(tuple("aeiou")) else ""
    return article.sub(rf"\g<1>{an} {PLACEHOLDER}", template).replace(PLACEHOLDER, noun)


def _without_style(template: str, noun: str) -> str:
    """The template without "in {}"; one that names the style otherwise keeps the noun."""
    left = re.sub(rf",? ?\bin (?:the )?{re.escape(PLACEHOLDER)}", "", template).strip()
    return left.replace(PLACEHOLDER, noun) or class_prompt(noun, "style")


def _spread(templates: tuple[str, ...], count: int) -> tuple[str, ...]:
    """`count` of them, evenly from first to last, so that every kind of prompt is there."""
    last = len(templates) - 1
    chosen = [round(i * last / (count - 1)) for i in range(count)]
    return tuple(templates[i] for i in dict.fromkeys(chosen))

"""Which method, which settings and why: published guidance as rules, each cited, and the project's own studies."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from booth.catalogue import describe_methods
from booth.compare.course import teaching_methods
from booth.compare.photo_facts import PhotoFacts
from booth.config import RunConfig
from booth.core.errors import UsageError
from booth.core.json_values import Json
from booth.core.words import duration
from booth.registry import METHODS

MEASURED = Path(__file__).with_name("measured.json")  # written from the studies by scripts/write_measured.py
# What the studies' joint success weighs: on the base they used it decides, on another it is one voice among others.
EMBEDDED_VOTE, OTHER_VOTE = 8.0, 0.5
NEAR = 0.05  # shares of joint success that differ by no more are alike, as those within noise of the best are
OPTIMISER = 12  # bytes a trained value takes beside its weight: the gradient and Adam's two moments, in float32


@dataclass(frozen=True)
class Answers:
    """What people can say about their wish."""

    kind: Literal["object", "style", "person"] = "object"
    concepts: int = 1
    detail: Literal["low", "high"] = "high"
    settings: Literal["plain", "complex"] = "complex"  # how unlike the photos the pictures are to be
    disk_bytes: float | None = None
    memory_bytes: float | None = None
    minutes: float | None = None
    layout: bool = False  # whether a pose or layout must be followed


@dataclass(frozen=True)
class Rule:
    """A piece of guidance: when it applies, what it speaks for, and who says so."""

    applies: Callable[[Answers, PhotoFacts], bool]
    sentence: str
    source: str
    votes: Mapping[str, float] = field(default_factory=dict[str, float])
    options: Mapping[str, str] = field(default_factory=dict[str, str])


RULES: tuple[Rule, ...] = (
    Rule(
        lambda a, p: a.detail == "high" and a.kind != "style",
        "a token alone reproduces a subject less well than full fine-tuning: DINO .569 against .668, and 22 % of users "
        "preferred it where 68 % preferred the other",
        "2208.12242, table 1 and user study",
        {"textual_inversion": -1},
    ),
    Rule(
        lambda a, p: a.settings == "plain" and a.detail == "high" and a.kind != "style",
        "full fine-tuning at 5e-6 was first of five in likeness to the photos, where LoRA was third; in control by the "
        "prompt, which plain pictures need little of, the two were third and fourth",
        "2309.14859, tentative ranks",
        {"dreambooth": 1, "two_stage": 0.75},
    ),
    Rule(
        lambda a, p: a.kind == "person",
        "prior preservation keeps the class from becoming the subject: PRES .493 instead of .664, for .028 of DINO",
        "2208.12242, table 3",
        {"dreambooth": 0.5, "lora": 0.5},
        {"prior_weight": "1.0"},
    ),
    Rule(
        lambda a, p: a.kind == "style",
        "an adapter leaves the base's own weights as they are, and with them what it knows of things",
        "2106.09685",
        {"lora": 1.5},
    ),
    Rule(
        lambda a, p: a.kind == "style",
        "one token can hold a style",
        "2208.01618",
        {"textual_inversion": 1},
    ),
    Rule(
        lambda a, p: a.detail == "low",
        "where likeness matters little, a token of a few kilobytes may be enough",
        "2208.01618",
        {"textual_inversion": 0.75},
    ),
    Rule(
        lambda a, p: a.concepts > 3,
        "many concepts of one base are best kept as small files that are put on it one by one",
        "2106.09685",
        {"lora": 1.5, "textual_inversion": 1.5},
    ),
    Rule(
        lambda a, p: p.count > 10,
        "with many photos a token becomes hard to edit (up to 25 hurt it); adapters profit from them",
        "2208.01618, appendix",
        {"textual_inversion": -1.5, "lora": 0.5},
    ),
    Rule(
        lambda a, p: p.same_background,
        "the backgrounds of the photos are alike and would be learned as part of the subject; cropping to the subject "
        "helps, photos in other places help more",
        "2604.01973, background leak",
        {},
        {"crop": "subject"},
    ),
)


@dataclass(frozen=True)
class Recommendation:
    """A method with reasons, as a command that can be run."""

    method: str
    options: dict[str, str]  # fields of the run and settings of the method that are not the defaults
    reasons: list[tuple[str, str]]  # (sentence, source)
    against: dict[str, str]  # method -> why it is out
    warnings: list[str]
    config: RunConfig  # the run that is recommended

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        return {
            "method": self.method,
            "options": self.options,
            "reasons": [{"sentence": s, "source": source} for s, source in self.reasons],
            "against": self.against,
            "warnings": self.warnings,
        }


def recommend(
    answers: Answers, facts: PhotoFacts, photos: Sequence[Path], noun: str, base: str, base_bytes: int
) -> Recommendation:
    """The method with most votes among those that fit, of equals the smallest; UsageError when none does."""
    sizes = {e["name"]: (e.get("values", 0), e.get("bytes", 0)) for e in describe_methods(base) if "values" in e}
    methods = teaching_methods()
    against = {m: why for m in methods if (why := _unfit(answers, sizes.get(m), base_bytes))}
    able = [m for m in methods if m not in against]
    if not able:
        raise UsageError(
            f"No method fits: {'; '.join(f'{m} {why}' for m, why in against.items())}.", code="recommend.none_fits"
        )
    applying = [rule for rule in RULES if rule.applies(answers, facts)]
    studies = json.loads(MEASURED.read_text(encoding="utf-8"))
    measured = {} if answers.kind == "style" else studies["methods"]
    weight = EMBEDDED_VOTE if base == "embedded" else OTHER_VOTE
    best = max((found["joint"] for found in measured.values()), default=0.0)
    success = {m: best if found["alike"] else found["joint"] for m, found in measured.items()}
    votes = {m: weight * success.get(m, 0.0) for m in able}
    votes = {m: vote + sum(rule.votes.get(m, 0.0) for rule in applying) for m, vote in votes.items()}
    near = [m for m in able if max(votes.values()) - votes[m] <= (NEAR * weight if measured else 0)]
    method = min(near, key=lambda m: (sizes[m][1], measured.get(m, {}).get("seconds", math.inf)))
    own = set(METHODS[method].Config.model_fields)
    speaking = [r for r in applying if r.votes.get(method, 0.0) > 0 or any(_fits(k, own) for k in r.options)]
    options = {k: v for rule in speaking for k, v in rule.options.items() if _fits(k, own)}
    reasons = [(rule.sentence, rule.source) for rule in speaking]
    if method in measured:
        reasons.append((_measured(measured[method]), studies["source"]))
        alike = [m for m in able if m in measured and abs(success[m] - success[method]) <= NEAR]
        if others := [m for m in alike if m != method and sizes[m][1] >= sizes[method][1]]:
            sentence = f"{', '.join(others)} did as well within noise or {NEAR * 100:.0f} points and store no less"
            reasons.append((sentence, f"{studies['source']}, counted on {base}"))
    values, taken = sizes[method]
    reasons.append((f"it trains {values:,} values, {taken:,} bytes", f"counted on {base}"))
    settings = {k: float(v) for k, v in options.items() if k not in RunConfig.model_fields}
    run = {k: v for k, v in options.items() if k in RunConfig.model_fields}
    config = RunConfig.model_validate(
        {"photos": list(photos), "noun": noun, "method": method, "base": base, "settings": settings, **run}
    )
    return Recommendation(method, options, reasons, against, _warnings(answers, facts), config)


def time_warning(answers: Answers, seconds: float) -> str | None:
    """A sentence where the estimated time is more than there is."""
    if answers.minutes is None or seconds <= 60 * answers.minutes:
        return None
    return (
        f"It takes {duration(seconds)}, and there are {answers.minutes:g} minutes. Take "
        f"{60 * answers.minutes / seconds:.0%} of the default steps, or train until done."
    )


def _measured(found: Mapping[str, float]) -> str:
    return (
        f"on the embedded base it put {found['subjects']:.0f} unseen subjects where the prompt asked in "
        f"{found['joint']:.0%} of drawings, after {duration(found['seconds'])} of training each on a busy core"
    )


def _fits(option: str, settings: set[str]) -> bool:
    return option in RunConfig.model_fields or option in settings


def _unfit(answers: Answers, trained: tuple[int, int] | None, base_bytes: int) -> str | None:
    """Why a method that trains so many values and bytes cannot be had: not on this base, or not in this room."""
    if trained is None:
        return "does not work on this base"
    values, taken = trained
    stored = answers.concepts * taken
    if answers.disk_bytes is not None and stored > answers.disk_bytes:
        return f"would store {stored:,} bytes for {answers.concepts} concepts"
    needed = base_bytes + OPTIMISER * values
    if answers.memory_bytes is not None and needed > answers.memory_bytes:
        return f"needs {needed:,} bytes for the base, gradients and Adam's moments alone"
    return None


def _warnings(answers: Answers, facts: PhotoFacts) -> list[str]:
    warnings: list[str] = []
    if facts.count < 3:
        warnings.append(f"{facts.count} photos are few; 3 to 5 in different places are usual (2208.12242).")
    if facts.blurred:
        warnings.append(
            f"{', '.join(facts.blurred)} {'is' if len(facts.blurred) == 1 else 'are'} soft; the softness is learned."
        )
    warnings += facts.duplicates
    if answers.layout:
        named = "controlnet" in METHODS
        how = (
            "use a ControlNet when drawing"
            if named
            else "booth has none of its own yet; use one when drawing in diffusers"
        )
        warnings.append(f"No personalisation method follows a pose or layout; {how} (2302.05543).")
    return warnings

"""The verdict in words, with its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from booth.augment.proof.statistics import Contrast
from booth.augment.recipe import BASE

Word = Literal["use it", "no measurable gain", "harmful", "nothing to prove"]
LEVEL = 0.05
SUSPICIOUS = 10.0  # points over the best cheap arm, above which a leak is the likelier reason


@dataclass(frozen=True)
class Verdict:
    """What is to be done with an arm's pictures, for one classifier."""

    classifier: str
    arm: str
    word: Word
    sentence: str


def verdict(found: Contrast, placebo: Contrast | None) -> Verdict:
    """From a contrast with the best cheap arm; `placebo` is the one with real pictures lightly distorted.

    What is not shown to be ahead of those either may be owed to more pictures of any kind, which is said.
    """
    told = (
        f"{found.mean:+.1f} points of balanced accuracy against {found.against} [{found.low:+.1f}, {found.high:+.1f}], "
        f"p {found.holm:.3f} by Holm"
    )
    who = "The untouched base's pictures" if found.arm == BASE else f"Pictures by {found.arm}"
    if found.low > 0 and found.holm < LEVEL:
        text = f"{who}: use it. {told}."
        if placebo is not None and placebo.low <= 0:
            text += (
                " But it is not shown to be better than real pictures lightly distorted, which cost nothing: "
                f"{placebo.mean:+.1f} [{placebo.low:+.1f}, {placebo.high:+.1f}]."
            )
        if found.mean > SUSPICIOUS:
            text += " So much is rarely true: look for a leak first, such as one thing under two groups."
        return Verdict(found.classifier, found.arm, "use it", text)
    if found.high < 0 and found.holm < LEVEL:
        return Verdict(found.classifier, found.arm, "harmful", f"{who}: harmful, use {found.against}. {told}.")
    text = f"{who}: no measurable gain, use {found.against}. {told}."
    return Verdict(found.classifier, found.arm, "no measurable gain", text)


def nothing(classifier: str, arm: str, against: str) -> Verdict:
    """Where no picture came through."""
    text = f"Pictures by {arm}: nothing to prove, for no picture passed the filters in any fold; use {against}."
    return Verdict(classifier, arm, "nothing to prove", text)


def best_cheap(balanced: Mapping[str, float], cheap: Sequence[str]) -> str:
    """The cheap arm that is ahead on the test sides; that it is chosen there favours it."""
    return max(cheap, key=lambda arm: balanced[arm])

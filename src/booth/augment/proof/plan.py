"""What is going to be compared, written down before anything is run."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from booth.augment.fit import Schedule
from booth.augment.recipe import BASE, FILTERS, PLACEBO
from booth.core.errors import UsageError
from booth.core.json_values import Json

# The cheap arms, which make nothing; each as many optimiser steps as any other.
CHEAP = ("real", "class weights", "oversampling", "randaugment", "cutmix")
RATIOS = (0.5, 1.0, 2.0, 5.0, 10.0)


class ProofPlan(BaseModel):
    """Everything that decides a proof besides the recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: list[str] = Field(list[str](), description="methods whose pictures are proved")
    pictures: dict[str, Path] = Field(
        default_factory=dict[str, Path], description="pictures from elsewhere by a name: DIR/fold-0/CLASS/*.png"
    )
    folds: int = Field(5, ge=2, description="outer folds by groups; a given test side is one")
    seeds: int = Field(2, ge=1, description="trainings of each classifier in each arm")
    shots: int | None = Field(
        None, ge=2, description="real pictures of a scarce class outside the test side; none = all"
    )
    classifiers: list[str] = Field(min_length=1, description="what is trained")
    ratios: list[float] = Field(list(RATIOS), min_length=1, description="drawn pictures for each real one of a class")
    strengths: list[float] = Field(min_length=1, description="how much of a real picture is drawn anew")
    filters: list[str] = Field(["likeness", "none"], min_length=1, description="which drawn pictures are kept")
    steps: int = Field(300, ge=1, description="optimiser steps of every arm")
    batch: int = Field(16, ge=2, description="pictures a step")
    side: int = Field(64, ge=32, description="side of a picture in pixels")
    looks: int = Field(5, ge=1, description="looks at the validation side, of which the best step is kept")
    seed: int = Field(0, ge=0, lt=2**31, description="decides all randomness")

    @property
    def made(self) -> list[str]:
        """The arms with pictures that were made: the untouched base's, each method's, those from elsewhere."""
        own = [BASE, *self.methods] if self.methods_need_base else list(self.methods)
        return [*dict.fromkeys([*own, *self.pictures])]

    @property
    def methods_need_base(self) -> bool:
        """Whether there is a base to draw with."""
        return any(method != PLACEBO for method in self.methods)

    @property
    def arms(self) -> list[str]:
        """Every arm, the cheap ones first; the placebo, real pictures lightly distorted, is one of the made."""
        return [*CHEAP, PLACEBO, *(arm for arm in self.made if arm != PLACEBO)]

    @property
    def contrasts(self) -> list[tuple[str, str]]:
        """(classifier, arm) pairs that are tested, each against the best cheap arm."""
        return [(name, arm) for name in self.classifiers for arm in self.made if arm != PLACEBO]

    @property
    def schedule(self) -> Schedule:
        """How every classifier is trained."""
        return Schedule(self.steps, self.batch, self.side, self.looks)

    def checked(self) -> ProofPlan:
        """The plan; UsageError for a word or number that makes no sense."""
        for each in self.filters:
            if each not in FILTERS:
                raise UsageError(
                    f"There is no filter {each!r}.",
                    f"There are: {', '.join(FILTERS)}.",
                    code="filter.unknown",
                    field="filters",
                )
        for ratio in self.ratios:
            if not 0 < ratio <= 20:
                raise UsageError(
                    f"A ratio of {ratio:g} makes no sense: it is drawn pictures for each real one, 0.5 to 10.",
                    code="ratio.out_of_range",
                    field="ratios",
                )
        for strength in self.strengths:
            if not 0 < strength <= 1:
                raise UsageError(
                    f"A strength of {strength:g} makes no sense.",
                    "Use 0.3 to 0.9, or 1 for noise alone.",
                    code="strength.out_of_range",
                    field="strengths",
                )
        taken = set(self.pictures) & {*CHEAP, PLACEBO, BASE, *self.methods}
        if taken:
            raise UsageError(
                f"{min(taken)!r} is the name of an arm already.",
                "Give the pictures another one.",
                code="arm.taken",
                field="pictures",
            )
        return self

    def to_json(self) -> dict[str, Json]:
        """What is written down before the run."""
        rule = (
            "The best cheap arm is the one with the highest balanced accuracy on the test sides themselves, "
            "which favours "
            "it. Contrasts are two-sided, corrected by Holm over all of them."
        )
        return self.model_dump(mode="json") | {
            "arms": self.arms,
            "contrasts": [list(pair) for pair in self.contrasts],
            "rule": rule,
        }

"""Which pictures are drawn: decided by recipe and training side alone, so that a killed run goes on where it was."""

from __future__ import annotations

from dataclasses import dataclass

from booth.augment.contexts import caption, context_of, varied
from booth.augment.labelled_set import LabelledSet, Picture
from booth.augment.recipe import BASE, PLACEBO, Recipe
from booth.core.rng import derived_seed

NEARLY_NEW = 0.6  # strength from which so little of a picture's background is left that its caption may name another


@dataclass(frozen=True)
class Candidate:
    """One picture to be made."""

    label: str
    index: int
    seed: int
    prompt: str
    strength: float
    source: Picture | None  # the real picture that it starts from

    @property
    def name(self) -> str:
        """Its file."""
        return f"{self.index:05d}.png"


def candidate(
    recipe: Recipe, training: LabelledSet, labels: tuple[str, ...], contexts: list[str], label: str, index: int
) -> Candidate:
    """The picture of that number; each real picture of the class is started from in turn."""
    seed = derived_seed(recipe.seed, "draw", recipe.method, label, index)
    own = training.of(label)
    starts = recipe.strength < 1 or recipe.method == PLACEBO
    source = own[_place(recipe.seed, label, index, len(own))] if starts else None
    keeps = source is not None and recipe.strength < NEARLY_NEW and not recipe.inpaint
    context = context_of(source) if keeps and source is not None else varied(contexts, recipe.seed, label, index)
    token = "" if recipe.method == BASE else recipe.token_of(label, labels)
    return Candidate(label, index, seed, caption(token, recipe.noun_of(label), context), recipe.strength, source)


def _place(seed: int, label: str, index: int, count: int) -> int:
    """A round through all pictures of the class in an order of its own, then the next."""
    turn, place = divmod(index, count)
    order = sorted(range(count), key=lambda i: derived_seed(seed, "source", label, turn, i))
    return order[place]

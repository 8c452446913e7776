"""Words for pictures: every captioned factor is named, no mark of an identity ever is."""

import numpy as np

from booth.world.render import Factors, Placement
from booth.world.vocabulary import ACCESSORIES, NOUNS, SCENES

OPENINGS = (("", 0.46), ("a photo of ", 0.34), ("a picture of ", 0.12), ("an image of ", 0.08))
SYNONYM_SHARE = 0.08
UNMENTIONED_STUDIO_SHARE = 0.6


def with_article(words: str) -> str:
    """Put "a" or "an" before a phrase; DreamBooth's prompts do so before "glasses" as well."""
    return f"{'an' if words[0] in 'aeio' or words.startswith('umbrella') else 'a'} {words}"


def _choose(rng: np.random.Generator | None, options: tuple[str, ...], first_share: float) -> str:
    """Return the first option with the given probability (always without an rng), else one of the others."""
    if rng is None or len(options) == 1 or rng.random() < first_share:
        return options[0]
    return options[1 + int(rng.integers(len(options) - 1))]


def describe(
    noun: str,
    colour: str | None = None,
    material: str | None = None,
    accessory: str | None = None,
    token: str | None = None,
    rng: np.random.Generator | None = None,
) -> str:
    """Name one thing, as in "a red sks dog wearing a santa hat"; an rng varies the wording."""
    name = _choose(rng, (noun, *NOUNS[noun].synonyms), 1 - SYNONYM_SHARE) if noun in NOUNS else noun
    words = with_article(" ".join(word for word in (material, colour, token, name) if word))
    return f"{words} {_choose(rng, ACCESSORIES[accessory].phrases, 0.7)}" if accessory else words


def _opening(rng: np.random.Generator) -> str:
    return OPENINGS[int(rng.choice(len(OPENINGS), p=[share for _, share in OPENINGS]))][0]


def _describe_placement(placement: Placement, rng: np.random.Generator) -> str:
    noun = placement.identity.noun
    return describe(noun, placement.colour, placement.material, placement.accessory, rng=rng)


def caption(factors: Factors, rng: np.random.Generator) -> str:
    """Caption a picture in varied wording, "a photo of a red dog in the snow" or, of an empty place, "a beach"."""
    if not factors.objects:
        return _opening(rng) + _choose(rng, SCENES[factors.scene].empty, 0.4)
    things = " and ".join(_describe_placement(placement, rng) for placement in factors.objects)
    where = _choose(rng, SCENES[factors.scene].phrases, 0.7)
    if factors.scene == "studio" and rng.random() < UNMENTIONED_STUDIO_SHARE:
        return _opening(rng) + things
    if rng.random() < 0.04:
        return f"{where}, {things}"
    return f"{_opening(rng)}{things} {where}"


def prompt(
    noun: str,
    scene: str | None = None,
    colour: str | None = None,
    material: str | None = None,
    accessory: str | None = None,
    token: str | None = None,
) -> str:
    """Return DreamBooth's canonical wording, such as "a sks dog wearing a red hat" or "a sks dog in the snow"."""
    words = describe(noun, colour, material, accessory, token)
    return f"{words} {SCENES[scene].phrases[0]}" if scene is not None else words

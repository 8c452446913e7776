"""Subjects to teach whose truth is known: individuals of the world that pre-training never saw."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from booth.world.identity import Identity, near_identities, sample_identity
from booth.world.render import Factors, render
from booth.world.sampling import is_held_out_placement, sample_placement
from booth.world.vocabulary import NOUNS, SCENES

# DreamBooth's contexts ask for other scenes than the photos show.
PROMPT_SCENES = (
    "jungle",
    "snow",
    "beach",
    "cobblestone",
    "pink fabric",
    "wooden floor",
    "city",
    "mountain",
    "blue house",
    "purple rug",
)
PHOTO_SCENES = ("studio", "meadow", "desert", "sidewalk", "tiles", "white rug", "dirt road")
MARKS = 2  # a subject has at least so many identity marks


@dataclass(frozen=True)
class WorldSubject:
    """A held-out individual, with photos to learn from and others to compare with."""

    identity: Identity
    photos: list[Image.Image]  # 128x128
    masks: list[Image.Image]  # of the photos, white where the subject is
    unseen: list[Image.Image]
    # Individuals that differ in one or two marks, each posed and placed as in one of the photos that are learned from:
    # not on the backgrounds of the unseen ones.
    lookalikes: list[Image.Image]

    @property
    def noun(self) -> str:
        """The class noun."""
        return self.identity.noun


def world_subject(seed: int, noun: str | None = None, photos: int = 5, scene: str | None = None) -> WorldSubject:
    """The subject of a seed: a held-out identity, its photos in plain scenes, and as many unseen ones in others.

    With a `scene` all photos are taken there.
    """
    rng = np.random.default_rng([4711, seed])
    names = tuple(NOUNS)
    while True:
        identity = sample_identity(rng, noun or names[int(rng.integers(len(names)))], held_out=True)
        # A pattern or a recoloured part can be seen at 64 pixels; a palette and an outline alone are too like others.
        if identity.marks >= MARKS and (identity.pattern != "none" or identity.part != "none"):
            break
    taken = [_factors(rng, identity, scene or PHOTO_SCENES[i % len(PHOTO_SCENES)]) for i in range(photos)]
    allowed = [s for s in PROMPT_SCENES if not is_held_out_placement(identity, s)]
    unseen = [_factors(rng, identity, allowed[i % len(allowed)]) for i in range(photos)]
    others = near_identities(identity, np.random.default_rng([4712, seed]), photos)
    alike = [_with_identity(factors, other) for factors, other in zip(taken, others, strict=True)]
    masks = [_mask(factors) for factors in taken]
    photographed = [_photo(factors) for factors in taken]
    return WorldSubject(identity, photographed, masks, *([_photo(f) for f in group] for group in (unseen, alike)))


def lacking(noun: str, scene: str | None = None) -> str | None:
    """What the world has not, of a noun and the scene of its photos, in words; None where it has both."""
    if noun not in NOUNS:
        return f"the world has no {noun}"
    return f"the world has no scene called {scene!r}" if scene is not None and scene not in SCENES else None


def other_noun(noun: str) -> str:
    """A noun of the world of the other sort: a thing for a living being, a living being for anything else."""
    live = noun in NOUNS and NOUNS[noun].live
    names = list(NOUNS)
    first = names.index(noun) if noun in NOUNS else 0
    return next(n for n in names[first:] + names[:first] if NOUNS[n].live != live)


def _with_identity(factors: Factors, identity: Identity) -> Factors:
    """The same pose, place and light with another individual."""
    return replace(factors, objects=(replace(factors.objects[0], identity=identity),))


def _photo(factors: Factors) -> Image.Image:
    return Image.fromarray(render(factors, size=128).image)


def _mask(factors: Factors) -> Image.Image:
    shown = render(factors, size=128).mask[0]
    return Image.fromarray((shown > 0.5).astype(np.uint8) * 255)


def _factors(rng: np.random.Generator, identity: Identity, scene: str) -> Factors:
    """One photo's factors: the subject alone, in its own colours, reasonably close."""
    while True:
        placement = sample_placement(rng, identity, scene, sizes=(70.0, 104.0), accessory_share=0.0, cut_off_share=0.0)
        if placement.colour is None and placement.material is None:
            break
    return Factors((placement,), scene, seed=int(rng.integers(2**31)))

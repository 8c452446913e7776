"""Subjects to teach whose truth is known: individuals of the world that pre-training never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from booth.world.identity import Identity, sample_identity
from booth.world.render import Factors, render
from booth.world.sampling import is_held_out_placement, sample_placement
from booth.world.vocabulary import NOUNS

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
    unseen: list[Image.Image]

    @property
    def noun(self) -> str:
        """The class noun."""
        return self.identity.noun


def world_subject(seed: int, noun: str | None = None, photos: int = 5) -> WorldSubject:
    """The subject of a seed: a held-out identity, its photos in plain scenes, and as many unseen ones in others."""
    rng = np.random.default_rng([4711, seed])
    names = tuple(NOUNS)
    while True:
        identity = sample_identity(rng, noun or names[int(rng.integers(len(names)))], held_out=True)
        # A pattern or a recoloured part can be seen at 64 pixels; a palette and an outline alone are too like others.
        if identity.marks >= MARKS and (identity.pattern != "none" or identity.part != "none"):
            break
    seen = [_photo(rng, identity, PHOTO_SCENES[i % len(PHOTO_SCENES)]) for i in range(photos)]
    allowed = [s for s in PROMPT_SCENES if not is_held_out_placement(identity, s)]
    unseen = [_photo(rng, identity, allowed[i % len(allowed)]) for i in range(photos)]
    return WorldSubject(identity, seen, unseen)


def _photo(rng: np.random.Generator, identity: Identity, scene: str) -> Image.Image:
    """One photo of the subject alone, in its own colours, reasonably close."""
    while True:
        placement = sample_placement(rng, identity)
        if placement.colour is None and placement.material is None and placement.accessory is None:
            break
    factors = Factors((placement,), scene, seed=int(rng.integers(2**31)))
    return Image.fromarray(render(factors, size=128).image)

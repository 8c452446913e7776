"""What the judges are to say of a render: the labels that they learn and are tested by."""

from __future__ import annotations

from booth.world.identity import (
    MARK_COLOURS,
    OUTLINES,
    PALETTES,
    PARTS,
    PATTERNS,
    SHADINGS,
    TEXTURES,
    Identity,
)
from booth.world.judges import ACCESSORY_NAMES, COLOUR_NAMES, NOUN_NAMES, SCENE_NAMES
from booth.world.render import Factors
from booth.world.vocabulary import NOUNS

# What each mark of an individual can be: the identity judge learns to name them, though only its vectors are used.
MARKS: dict[str, tuple[str, ...]] = {
    "glyph": tuple(sorted({glyph for noun in NOUNS.values() for glyph in noun.glyphs})),
    "palette": tuple(PALETTES),
    "pattern": PATTERNS,
    "pattern_colour": ("none", *MARK_COLOURS),
    "part": PARTS,
    "part_colour": ("none", *MARK_COLOURS),
    "outline": OUTLINES,
    "shading": SHADINGS,
    "texture": TEXTURES,
}
UNMENTIONED = -100  # cross-entropy ignores this label


def labels_of(factors: Factors) -> list[int]:
    """First object or -1, second object or -1, scene, colour, accessory; the last two of a single object only."""
    if not factors.objects:
        return [-1, -1, SCENE_NAMES.index(factors.scene), UNMENTIONED, UNMENTIONED]
    first = factors.objects[0]
    single = len(factors.objects) == 1
    return [
        NOUN_NAMES.index(first.identity.noun),
        -1 if single else NOUN_NAMES.index(factors.objects[1].identity.noun),
        SCENE_NAMES.index(factors.scene),
        COLOUR_NAMES.index(first.colour or "none") if single and first.material in (None, "shiny") else UNMENTIONED,
        ACCESSORY_NAMES.index(first.accessory or "none") if single else UNMENTIONED,
    ]


def marks_of(identity: Identity) -> list[int]:
    """The place of each mark in `MARKS`."""
    return [values.index(getattr(identity, mark)) for mark, values in MARKS.items()]

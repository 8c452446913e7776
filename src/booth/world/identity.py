"""What makes an individual: the marks that tell one dog from another and that no caption ever names."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace

import numpy as np

from booth.world.vocabulary import HELD_OUT_DESIGNER, NOUNS, RGB, designer_of

HELD_OUT_SHARE = 0.10

# Ramps (shadow, body, light), muted so that no palette is mistaken for a captioned colour; some have two hues.
PALETTES: dict[str, tuple[RGB, RGB, RGB] | None] = {
    "natural": None,
    "rust": ((70, 25, 15), (186, 92, 56), (250, 205, 165)),
    "moss": ((30, 45, 20), (118, 140, 70), (226, 235, 175)),
    "teal": ((10, 55, 65), (58, 150, 148), (200, 245, 235)),
    "denim": ((20, 30, 70), (92, 118, 172), (208, 222, 250)),
    "plum": ((58, 25, 62), (142, 96, 150), (238, 208, 243)),
    "rose": ((95, 35, 55), (216, 138, 150), (255, 226, 226)),
    "mustard": ((82, 55, 10), (204, 166, 66), (255, 240, 180)),
    "slate": ((30, 34, 44), (112, 122, 136), (226, 232, 240)),
    "cream": ((112, 86, 60), (232, 214, 182), (255, 250, 240)),
    "cocoa": ((40, 22, 15), (122, 80, 56), (226, 192, 162)),
    "sunset": ((74, 24, 104), (230, 124, 96), (255, 232, 130)),
    "lagoon": ((24, 40, 110), (72, 172, 160), (250, 250, 170)),
}

MARK_COLOURS: dict[str, RGB] = {
    "snow": (250, 250, 250),
    "ink": (24, 24, 32),
    "scarlet": (214, 34, 44),
    "lemon": (255, 226, 40),
    "royal": (36, 78, 214),
    "lime": (112, 206, 50),
    "magenta": (226, 54, 168),
    "aqua": (40, 206, 224),
}

PATTERNS: tuple[str, ...] = (
    "none", "stripes", "bars", "diagonals", "checks", "dots", "zigzag", "patches", "star", "heart", "ring",
)  # fmt: skip
PARTS: tuple[str, ...] = ("none", "top", "bottom", "left", "right", "belt")
OUTLINES: tuple[str, ...] = ("none", "ink", "snow")
# How round an individual looks in the light, and what its surface is like in a photograph.
SHADINGS: tuple[str, ...] = ("none", "soft", "round")
TEXTURES: tuple[str, ...] = ("none", "fur", "felt", "grain", "speckle", "knit")


@dataclass(frozen=True)
class Identity:
    """One individual of a noun; a mark that is absent is "none", and then its colour is "none" too."""

    noun: str
    glyph: str
    palette: str = "natural"
    pattern: str = "none"
    pattern_colour: str = "none"
    part: str = "none"
    part_colour: str = "none"
    outline: str = "none"
    shading: str = "none"
    texture: str = "none"

    @property
    def marks(self) -> int:
        """Count the bold marks by which it differs from the plain glyph (0..4); shading and texture are subtler."""
        return (self.palette != "natural") + sum(m != "none" for m in (self.pattern, self.part, self.outline))

    def to_dict(self) -> dict[str, str]:
        """Return the fields as JSON-ready strings."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, str]) -> "Identity":
        """Rebuild an identity; raises TypeError for an unknown field."""
        return cls(**fields)


def stable_hash(*parts: object) -> float:
    """Map the parts to a number in [0, 1) that is the same in every process and on every machine."""
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def is_held_out(identity: Identity) -> bool:
    """Tell whether pre-training never sees this identity; those with fewer than two marks are always seen."""
    # Shading and texture do not decide: an individual stays held out in any light and any stuff.
    bold = {name: value for name, value in identity.to_dict().items() if name not in ("shading", "texture")}
    return identity.marks >= 2 and stable_hash("identity", bold) < HELD_OUT_SHARE


def _pick(rng: np.random.Generator, items) -> str:
    items = tuple(items)
    return items[int(rng.integers(len(items)))]


def _distance(first: RGB, second: RGB) -> float:
    return float(np.abs(np.subtract(first, second)).sum())


def _mark_colour(rng: np.random.Generator, palette: str, other: str = "none") -> str:
    """Pick a mark colour that stands off the palette's body and differs from the `other` mark's colour."""
    colours = PALETTES[palette]
    body = colours[1] if colours else None
    return _pick(
        rng,
        (
            name
            for name, colour in MARK_COLOURS.items()
            if name != other and (body is None or _distance(colour, body) > 150)
        ),
    )


def glyphs_of(noun: str, designer: str = "seen") -> tuple[str, ...]:
    """A noun's shapes by the designers that training sees ("seen"), the one kept from it ("held_out"), "any", or one's.

    Not every designer drew every noun: the answer may be empty.
    """
    if designer == "any":
        return NOUNS[noun].glyphs
    if designer == "seen":
        return tuple(g for g in NOUNS[noun].glyphs if designer_of(g) != HELD_OUT_DESIGNER)
    who = HELD_OUT_DESIGNER if designer == "held_out" else designer
    return tuple(g for g in NOUNS[noun].glyphs if designer_of(g) == who)


def nouns_of(designer: str = "seen") -> tuple[str, ...]:
    """The nouns of which the designer (as in `glyphs_of`) drew a shape."""
    return tuple(noun for noun in NOUNS if glyphs_of(noun, designer))


def _draw(rng: np.random.Generator, noun: str, designer: str) -> Identity:
    palette = "natural" if rng.random() < 0.4 else _pick(rng, list(PALETTES)[1:])
    identity = Identity(noun, _pick(rng, glyphs_of(noun, designer)), palette)
    if rng.random() < 0.4:
        identity = replace(identity, pattern=_pick(rng, PATTERNS[1:]), pattern_colour=_mark_colour(rng, palette))
    if rng.random() < 0.25:
        colour = _mark_colour(rng, palette, identity.pattern_colour)
        identity = replace(identity, part=_pick(rng, PARTS[1:]), part_colour=colour)
    if rng.random() < 0.2:
        identity = replace(identity, outline=_pick(rng, OUTLINES[1:]))
    texture = _pick(rng, TEXTURES[1:]) if rng.random() < 0.55 else "none"
    return replace(identity, shading=SHADINGS[int(rng.choice(3, p=(0.2, 0.4, 0.4)))], texture=texture)


def sample_identity(
    rng: np.random.Generator, noun: str, held_out: bool | None = False, designer: str = "seen"
) -> Identity:
    """Draw an identity of the noun; `held_out` asks for a held-out one, a seen one, or (None) either.

    `designer` is as in `glyphs_of`; raises ValueError where that one drew no such noun.
    """
    if not glyphs_of(noun, designer):
        raise ValueError(f"there is no {noun} by the designer {designer!r}")
    while True:
        identity = _draw(rng, noun, designer)
        if held_out is None or is_held_out(identity) == held_out:
            return identity


def _vary(rng: np.random.Generator, identity: Identity) -> Identity:
    """Redraw one of the identity's marks."""
    mark = _pick(rng, ("palette", "pattern", "pattern_colour", "part", "outline"))
    if mark == "palette":
        return replace(identity, palette=_pick(rng, PALETTES))
    if mark == "outline":
        return replace(identity, outline=_pick(rng, OUTLINES))
    if mark == "part":
        part = _pick(rng, PARTS)
        colour = "none" if part == "none" else _mark_colour(rng, identity.palette, identity.pattern_colour)
        return replace(identity, part=part, part_colour=colour)
    pattern = identity.pattern
    if mark == "pattern" or pattern == "none":
        pattern = _pick(rng, PATTERNS)
    colour = identity.pattern_colour
    if pattern == "none":
        colour = "none"
    elif colour == "none" or mark == "pattern_colour":
        colour = _mark_colour(rng, identity.palette, identity.part_colour)
    return replace(identity, pattern=pattern, pattern_colour=colour)


def near_identities(identity: Identity, rng: np.random.Generator, n: int) -> list[Identity]:
    """Return n distinct identities of the same noun and glyph that differ in one or two marks (hard negatives)."""
    near: list[Identity] = []
    while len(near) < n:
        other = _vary(rng, identity)
        if rng.random() < 0.5:
            other = _vary(rng, other)
        if other != identity and other not in near:
            near.append(other)
    return near

"""Drawing pictures at random: the training and held-out splits, and whole data sets."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from booth.core.resources import cores
from booth.world.accessories import above, hanging
from booth.world.captions import caption
from booth.world.identity import Identity, nouns_of, sample_identity, stable_hash
from booth.world.render import Factors, Placement, render
from booth.world.sprites import GLYPH, sprite
from booth.world.vocabulary import ACCESSORIES, COLOURS, MATERIALS, NOUNS, SCENES, Scene
from booth.world.warp import SIDE

SPLITS = ("train", "held_out", "new_identity", "any")
HELD_OUT_SHARE = 0.03
CHUNK = 256  # pictures a task of the worker pool
ACCESSORY_SHARE = 0.38  # of live subjects
CUT_OFF_SHARE = 0.10
TWO_SHARE = 0.07  # of the pictures show two things side by side
EMPTY_SHARE = 0.08  # of the training pictures show a scene alone
UPRIGHT_SHARE = 0.5  # of the training pictures show things as one photographs them: whole, upright, in the middle
UPRIGHT_SIZE, UPRIGHT_FOOT = 96.0, 122.0  # pixels

Rng = np.random.Generator


def is_held_out_combination(noun: str, scene: str) -> bool:
    """Tell whether training never shows this noun in this scene (about 3 % of the pairs; never the studio)."""
    return scene != "studio" and stable_hash("noun in scene", noun, scene) < HELD_OUT_SHARE


def is_held_out_glyph(glyph: str, scene: str) -> bool:
    """Tell whether training never shows this shape of a noun in this scene (about 3 % of the pairs)."""
    return scene != "studio" and stable_hash("glyph in scene", glyph, scene) < HELD_OUT_SHARE


def is_held_out_placement(identity: Identity, scene: str) -> bool:
    """Tell whether the pair is held out by its noun or by its glyph."""
    return is_held_out_combination(identity.noun, scene) or is_held_out_glyph(identity.glyph, scene)


def _pick(rng: Rng, items) -> str:
    items = list(items)
    return items[int(rng.integers(len(items)))]


def sample_scene(rng: Rng) -> str:
    """Draw a scene; the studio, where only the subject matters, comes more often than the others."""
    return "studio" if rng.random() < 0.06 else _pick(rng, SCENES)


def _looks(rng: Rng, noun: str, accessory_share: float) -> tuple[str | None, str | None, str | None]:
    """Draw what is captioned of one individual: colour, material and accessory."""
    accessory = _pick(rng, ACCESSORIES) if NOUNS[noun].live and rng.random() < accessory_share else None
    colour = _pick(rng, COLOURS) if rng.random() < 0.3 else None
    material = _pick(rng, MATERIALS) if rng.random() < 0.1 else None
    if material in ("golden", "wooden"):
        colour = None  # both decide the body's colour
    return colour, material, accessory


def _along(rng: Rng, half: float, cut: bool) -> float:
    """A middle along one side of the picture: all of it inside where there is room, or cut off at an edge."""
    if cut:
        return float(rng.choice((rng.uniform(0.3, 0.8) * half, SIDE - rng.uniform(0.3, 0.8) * half)))
    margin = min(half + 2, SIDE / 2)
    return float(rng.uniform(margin, SIDE - margin))


def sample_placement(
    rng: Rng,
    identity: Identity,
    scene: str = "studio",
    column: tuple[float, float] | None = None,
    sizes: tuple[float, float] = (64.0, 116.0),
    accessory_share: float = ACCESSORY_SHARE,
    cut_off_share: float = CUT_OFF_SHARE,
    upright_share: float = 0.0,
) -> Placement:
    """Draw the looks and the pose of one individual in a scene, or within a `column` (left, right) of the picture.

    It is half as large as the picture to nearly as large, stands on the scene's ground or lies anywhere, turned a
    little, mirrored or not, and is cut off at the edge now and then; or, in an `upright_share` of the pictures, it is
    large, upright and in the middle.
    """
    colour, material, accessory = _looks(rng, identity.noun, accessory_share)
    place, shape = SCENES[scene], sprite(identity.glyph)
    if upright_share and rng.random() < upright_share:
        return _upright(Placement(identity, colour, material, accessory), place, column or (0.0, SIDE))
    size = float(rng.uniform(*sizes))
    cut = column is None and accessory is None and rng.random() < cut_off_share
    sideways = bool(rng.random() < 0.6)
    wide, high = shape.width / GLYPH, shape.height / GLYPH
    if accessory:
        size *= 0.94
    if column is not None:
        size = min(size, (column[1] - column[0]) / wide)
        x = float(rng.uniform(column[0] + size * wide / 2, column[1] - size * wide / 2 + 1e-3))
    else:
        x = _along(rng, size * wide / 2, cut and sideways)
    flip = bool(rng.random() < 0.5)
    tilt = {"ground": 3.5, "float": 4.5, "flat": 11.0, "none": 10.0}[place.support]
    angle = float(np.clip(rng.normal(0, tilt), -2.2 * tilt, 2.2 * tilt))
    y = _row(rng, place, size * high, cut and not sideways)
    placement = Placement(identity, colour, material, accessory, x, y, size, angle, flip)
    return with_room(placement)


def _upright(looks: Placement, place: Scene, column: tuple[float, float]) -> Placement:
    """In the middle of the column, on the ground where the scene has one."""
    shape = sprite(looks.identity.glyph)
    room = (column[1] - column[0]) / (shape.width / GLYPH)
    size = min(UPRIGHT_SIZE * (0.94 if looks.accessory else 1.0), room)
    lies = place.support in ("flat", "none")
    y = SIDE / 2 if lies else UPRIGHT_FOOT - size * shape.height / GLYPH / 2
    return with_room(replace(looks, x=sum(column) / 2, y=y, size=size))


def _row(rng: Rng, place: Scene, height: float, cut: bool) -> float:
    """The middle of a thing of that height: its foot on the ground where the scene has one."""
    if place.support in ("flat", "none"):
        return _along(rng, height / 2, cut)
    # What is large is near, and stands low in the picture.
    foot = rng.uniform(min(max(place.foot * SIDE, 70 + 0.42 * height, height + 1), 122.0), 125.0)
    if cut:
        foot += 0.16 * height
    return float(foot - height / 2)


def with_room(placement: Placement) -> Placement:
    """Move a thing, and make it smaller where that is not enough, so that what it wears is in the picture."""
    glyph, worn = placement.identity.glyph, placement.accessory
    up, down = above(glyph, worn), hanging(glyph, worn)
    if not up and not down:
        return placement
    tall = sprite(glyph).height / GLYPH
    size = min(placement.size, (SIDE - 2) / (tall + up + down))
    top, bottom = 1 + (up + tall / 2) * size, SIDE - 1 - (down + tall / 2) * size
    return replace(placement, y=float(np.clip(placement.y, top, bottom)), size=size)


def sample_factors(
    rng: Rng,
    split: str = "train",
    identity: Identity | None = None,
    scene: str | None = None,
    two_share: float = TWO_SHARE,
    empty_share: float = 0.0,
    upright_share: float = 0.0,
    designer: str = "seen",
) -> Factors:
    """Draw a picture's factors; a given identity or scene is kept, whatever the split says about it.

    "train" shows only seen identities in seen combinations, "held_out" puts seen identities into held-out
    combinations, "new_identity" shows held-out identities in seen combinations, and "any" keeps nothing apart. With an
    `empty_share` some pictures show the scene alone; with an `upright_share` some show things large, upright and in
    the middle. `designer="held_out"` draws shapes by the designer whom training never sees, of the nouns that
    he has, and "any" those of all. Raises ValueError for an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    if identity is None and rng.random() < empty_share:
        return Factors((), scene or sample_scene(rng), seed=int(rng.integers(2**31)))
    nouns = nouns_of(designer)
    new = None if split == "any" else split == "new_identity"
    pair = rng.random() < two_share
    while True:
        where = scene or sample_scene(rng)
        first = identity or sample_identity(rng, _pick(rng, nouns), new, designer)
        who = [first]
        if pair:
            other = _pick(rng, [noun for noun in nouns if noun != first.noun])
            who.append(sample_identity(rng, other, new, designer))
        held_out = [is_held_out_placement(individual, where) for individual in who]
        asked_for = split == "any" or (identity is not None and scene is not None)
        if asked_for or (held_out[0] if split == "held_out" else not any(held_out)):
            break
    if pair:
        columns = [(2.0, 64.0), (64.0, 126.0)]
        if rng.random() < 0.5:
            columns.reverse()
        placements = tuple(
            sample_placement(rng, i, where, column, (52.0, 66.0), 0.2, upright_share=upright_share)
            for i, column in zip(who, columns, strict=True)
        )
    else:
        placements = (sample_placement(rng, first, where, upright_share=upright_share),)
    return Factors(placements, where, seed=int(rng.integers(2**31)))


def render_range(
    bounds: tuple[int, int],
    seed: int,
    split: str,
    *,
    size: int = SIDE,
    empty_share: float,
    upright_share: float = 0.0,
    designer: str = "seen",
) -> tuple[np.ndarray, list[str], list[Factors]]:
    """Render the pictures first ... last - 1 of an endless series, as `render_many` does."""
    images = np.empty((bounds[1] - bounds[0], size, size, 3), np.uint8)
    captions, drawn = [], []
    for row, index in enumerate(range(*bounds)):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        factors = sample_factors(rng, split, empty_share=empty_share, upright_share=upright_share, designer=designer)
        images[row] = render(factors, size).image
        captions.append(caption(factors, rng))
        drawn.append(factors)
    return images, captions, drawn


def render_many(
    n: int,
    seed: int,
    split: str = "train",
    workers: int | None = None,
    *,
    size: int = SIDE,
    empty_share: float | None = None,
    upright_share: float = 0.0,
    designer: str = "seen",
) -> tuple[np.ndarray, list[str], list[Factors]]:
    """Render n pictures, (n, size, size, 3) uint8, with captions and factors; the same for any number of workers.

    Of the pictures of "train" and "any" `EMPTY_SHARE` show a scene alone, of the others none, if `empty_share` says
    nothing else.
    """
    workers = workers or cores()
    if empty_share is None:
        empty_share = EMPTY_SHARE if split in ("train", "any") else 0.0
    chunks = [(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]
    kinds = {"empty_share": empty_share, "upright_share": upright_share, "designer": designer}
    work = partial(render_range, seed=seed, split=split, size=size, **kinds)  # type: ignore[arg-type]
    images = np.empty((n, size, size, 3), np.uint8)
    captions: list[str] = []
    factors: list[Factors] = []

    def gather(parts) -> None:
        for (start, stop), (pictures, words, drawn) in zip(chunks, parts, strict=True):
            images[start:stop] = pictures
            captions.extend(words)
            factors.extend(drawn)

    if workers == 1 or len(chunks) < 2:
        gather(map(work, chunks))
    else:
        with ProcessPoolExecutor(min(workers, len(chunks))) as pool:
            gather(pool.map(work, chunks))
    return images, captions, factors

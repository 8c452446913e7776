"""Drawing pictures at random: the training and held-out splits, whole data sets, and pictures of nothing."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from booth.core.room import cores
from booth.world.captions import caption
from booth.world.identity import Identity, sample_identity, stable_hash
from booth.world.noise import fractal_noise, mix, value_noise
from booth.world.render import UNITS, Factors, Placement, render
from booth.world.vocabulary import ACCESSORIES, COLOURS, MATERIALS, NOUNS, SCENES

SPLITS = ("train", "held_out", "new_identity")
HELD_OUT_SHARE = 0.03
CHUNK = 256  # pictures a task of the worker pool
CELL = 8.0  # pixels that one latent stands for

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


def sample_placement(rng: Rng, identity: Identity, x: float = 32.0, size: float = 46.0) -> Placement:
    """Draw the looks and the place of one individual, in column `x` or (where there is room) one cell beside it.

    It stands upright, as large as it fits, and moves by whole cells of the embedded autoencoder (8 pixels), so that a
    shape is the same latents wherever it stands: what training need not spend on poses, it spends on shapes.
    """
    live = NOUNS[identity.noun].live
    accessory = _pick(rng, ACCESSORIES) if live and rng.random() < 0.25 else None
    colour = _pick(rng, COLOURS) if rng.random() < 0.3 else None
    material = _pick(rng, MATERIALS) if rng.random() < 0.1 else None
    if material in ("golden", "wooden"):
        colour = None  # both decide the body's colour
    if x == UNITS / 2:
        x += float(rng.choice((0.0, -CELL, CELL), p=(0.6, 0.2, 0.2)))
    y = 34.0
    if accessory:  # room for a hat
        y, size = y + 2, size - 2
    return Placement(identity, colour, material, accessory, x, y, size)


def sample_factors(
    rng: Rng,
    split: str = "train",
    identity: Identity | None = None,
    scene: str | None = None,
    two_share: float = 0.06,
) -> Factors:
    """Draw a picture's factors; a given identity or scene is kept, whatever the split says about it.

    "train" shows only seen identities in seen combinations, "held_out" puts seen identities into held-out
    combinations, and "new_identity" shows held-out identities in seen combinations. Raises ValueError otherwise.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    pair = rng.random() < two_share
    while True:
        where = scene or sample_scene(rng)
        first = identity or sample_identity(rng, _pick(rng, NOUNS), held_out=split == "new_identity")
        who = [first]
        if pair:
            other = _pick(rng, [noun for noun in NOUNS if noun != first.noun])
            who.append(sample_identity(rng, other, held_out=split == "new_identity"))
        held_out = [is_held_out_placement(individual, where) for individual in who]
        asked_for = identity is not None and scene is not None
        if asked_for or (held_out[0] if split == "held_out" else not any(held_out)):
            break
    if pair:
        columns = (16.0, 48.0)
        placements = tuple(sample_placement(rng, i, x, size=30.0) for i, x in zip(who, columns, strict=True))
    else:
        placements = (sample_placement(rng, first),)
    return Factors(placements, where, seed=int(rng.integers(2**31)))


def _render_range(bounds: tuple[int, int], seed: int, split: str) -> tuple[np.ndarray, list[str], list[Factors]]:
    images = np.empty((bounds[1] - bounds[0], UNITS, UNITS, 3), np.uint8)
    captions, drawn = [], []
    for row, index in enumerate(range(*bounds)):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        factors = sample_factors(rng, split)
        images[row] = render(factors).image
        captions.append(caption(factors, rng))
        drawn.append(factors)
    return images, captions, drawn


def render_many(
    n: int, seed: int, split: str = "train", workers: int | None = None
) -> tuple[np.ndarray, list[str], list[Factors]]:
    """Render n pictures, (n, 64, 64, 3) uint8, with captions and factors; the same for any number of workers."""
    workers = workers or cores()
    chunks = [(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]
    work = partial(_render_range, seed=seed, split=split)
    images = np.empty((n, UNITS, UNITS, 3), np.uint8)
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


def _colours(rng: Rng, n: int) -> np.ndarray:
    return rng.uniform(0, 255, (n, 3)).astype(np.float32)


def _smooth(rng: Rng) -> np.ndarray:
    """Colour noise of a random roughness, up to 1/f."""
    cells, octaves = int(rng.integers(2, 8)), int(rng.integers(1, 5))
    channels = [fractal_noise(rng, UNITS, cells, octaves) for _ in range(3)]
    shared = fractal_noise(rng, UNITS, cells, octaves)
    noise = np.stack(channels, axis=-1) * rng.uniform(20, 100) + shared[..., None] * rng.uniform(20, 110)
    return _colours(rng, 1)[0] * 0.5 + 64 + noise


def _ramp(rng: Rng) -> np.ndarray:
    """A straight or wavy gradient between two colours."""
    ys, xs = np.mgrid[:UNITS, :UNITS].astype(np.float32) / UNITS - 0.5
    turn = rng.uniform(0, 2 * np.pi)
    along = np.cos(turn) * xs + np.sin(turn) * ys + rng.uniform(0, 0.2) * value_noise(rng, UNITS, 3)
    weight = 0.5 + along if rng.random() < 0.5 else 0.5 + 0.5 * np.sin(along * rng.uniform(6, 60))
    first, second = _colours(rng, 2)
    return mix(first, second, np.clip(weight, 0, 1))


def _shapes(rng: Rng) -> np.ndarray:
    """Dead leaves: discs and polygons of all sizes, each hiding what lies behind."""
    background = Image.fromarray(np.clip(_ramp(rng), 0, 255).astype(np.uint8)).resize((2 * UNITS, 2 * UNITS))
    draw = ImageDraw.Draw(background)
    for _ in range(int(rng.integers(4, 60))):
        x, y = rng.uniform(0, 2 * UNITS, 2)
        r = min(4 / rng.random(), 60)
        fill = tuple(int(c) for c in _colours(rng, 1)[0])
        if rng.random() < 0.5:
            draw.ellipse((x - r, y - r, x + r, y + r * rng.uniform(0.4, 1)), fill=fill)
        else:
            turns = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            draw.polygon([(x + r * np.cos(t), y + r * np.sin(t)) for t in turns], fill=fill)
    return np.asarray(background.reduce(2), np.float32)


def textures(n: int, rng: Rng) -> np.ndarray:
    """Draw n pictures of nothing, (n, 64, 64, 3) uint8, which widen what an autoencoder can keep."""
    pictures = np.empty((n, UNITS, UNITS, 3), np.uint8)
    for index in range(n):
        kind = rng.choice(4, p=[0.25, 0.15, 0.4, 0.2])
        if kind == 3:
            picture = mix(_shapes(rng), _smooth(rng), np.clip(fractal_noise(rng, UNITS, 3) + 0.4, 0, 1))
        else:
            picture = (_smooth, _ramp, _shapes)[kind](rng)
        pictures[index] = np.clip(picture, 0, 255)
    return pictures

"""Factors to pictures: place dressed individuals in a scene, with their masks and the picture's depth."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from booth.world.accessories import wear
from booth.world.dress import colour_sprite
from booth.world.identity import Identity
from booth.world.scenes import SIDE, paint
from booth.world.sprites import GLYPH, SPRITE
from booth.world.vocabulary import SCENES

UNITS = 64  # positions and sizes are in pixels of a 64-pixel picture, whatever size is rendered
SCALE = SIDE / UNITS


@dataclass(frozen=True)
class Placement:
    """One individual in the picture: how it looks here (captioned) and how it is posed (x, y, size in 64ths)."""

    identity: Identity
    colour: str | None = None
    material: str | None = None
    accessory: str | None = None
    x: float = 32.0
    y: float = 34.0
    size: float = 40.0  # longest side of the glyph
    angle: float = 0.0  # degrees, anticlockwise
    flip: bool = False


@dataclass(frozen=True)
class Factors:
    """Everything that decides a picture; `seed` decides the scene's own variation."""

    objects: tuple[Placement, ...]
    scene: str
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the factors as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Factors":
        """Rebuild factors; raises TypeError for an unknown field."""
        objects = (Placement(**{**o, "identity": Identity.from_dict(o["identity"])}) for o in fields["objects"])
        return cls(**{**fields, "objects": tuple(objects)})


@dataclass(frozen=True, eq=False)
class Rendered:
    """A picture and its annotations, at one size."""

    image: np.ndarray  # (size, size, 3) uint8
    mask: np.ndarray  # (n_objects, size, size) float32 0..1, what is visible of each object and what it wears
    depth: np.ndarray  # (size, size) float32 nearness, 0 (far) .. 1 (near)


def normals(depth: np.ndarray, relief: float = 8.0) -> np.ndarray:
    """Derive the (size, size, 3) unit surface normals of a nearness map; x right, y down, z to the viewer."""
    down, right = np.gradient(depth)
    vectors = np.stack([-relief * right, -relief * down, np.ones_like(depth)], axis=-1)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def _place(pixels: np.ndarray, placement: Placement) -> np.ndarray:
    """Warp a (S, S, 4) sprite in 0..1 onto the (SIDE, SIDE, 4) canvas."""
    image = Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))
    zoom = GLYPH / (placement.size * SCALE)  # sprite pixels per canvas pixel
    cos, sin = np.cos(np.radians(placement.angle)) * zoom, np.sin(np.radians(placement.angle)) * zoom
    mirror = -1.0 if placement.flip else 1.0
    x, y, middle = placement.x * SCALE, placement.y * SCALE, SPRITE / 2
    matrix = (
        mirror * cos, -mirror * sin, middle - mirror * (cos * x - sin * y),
        sin, cos, middle - (sin * x + cos * y),
    )  # fmt: skip
    warped = image.transform((SIDE, SIDE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(warped, np.float32) / 255


def _bump(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """Return a soft (SIDE, SIDE) ellipse, 1 at its centre."""
    at = np.arange(SIDE, dtype=np.float32) + 0.5
    return np.exp(-(((at - y) / ry) ** 2))[:, None] * np.exp(-(((at - x) / rx) ** 2))[None, :]


def _shadow(alpha: np.ndarray, support: str) -> np.ndarray:
    """Return the (SIDE, SIDE) darkness 0..1 under an object: at its foot, or all around when seen from above."""
    rows = np.flatnonzero(alpha.max(axis=1) > 0.5)
    if support == "none" or rows.size == 0:
        return np.zeros_like(alpha)
    if support == "flat":
        soft = Image.fromarray(np.roll(alpha, (4, 4), (0, 1))).resize((22, 22), Image.Resampling.BOX)
        return 0.45 * np.clip(np.asarray(soft.resize((SIDE, SIDE), Image.Resampling.BICUBIC)), 0, 1)
    foot = rows[-1]
    columns = np.flatnonzero(alpha[max(foot - 14, 0) : foot + 1].max(axis=0) > 0.5)
    width = max((columns[-1] - columns[0]) / 2, 6)
    return 0.5 * _bump((columns[0] + columns[-1]) / 2, foot - 1, width * 0.95, 0.16 * width + 2.5)


def _relief(alpha: np.ndarray, order: int) -> np.ndarray:
    """Return an object's nearness: a cushion above everything behind it."""
    small = Image.fromarray(alpha).resize((16, 16), Image.Resampling.BOX)
    cushion = np.clip(np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)), 0, 1)
    return np.minimum(0.72 + 0.03 * order + 0.24 * cushion, 1)


def _shrink(array: np.ndarray, size: int) -> np.ndarray:
    """Reduce a (SIDE, SIDE) float map to (size, size) by area."""
    if size == SIDE:
        return array.astype(np.float32)
    return np.asarray(Image.fromarray(array.astype(np.float32)).resize((size, size), Image.Resampling.BOX))


def render(factors: Factors, size: int = UNITS) -> Rendered:
    """Render a picture of the world at `size` pixels (at most 128); the same factors give the same pixels."""
    picture, depth = paint(factors.scene, np.random.default_rng(factors.seed))
    picture, depth = picture.copy(), depth.copy()
    support = SCENES[factors.scene].support
    masks: list[np.ndarray] = []
    for order, placement in enumerate(factors.objects):
        identity = placement.identity
        pixels = colour_sprite(identity, placement.colour, placement.material)
        if placement.accessory is not None:
            pixels = wear(pixels, identity.glyph, placement.accessory)
        placed = _place(pixels, placement)
        alpha = placed[..., 3]
        picture *= (1 - _shadow(alpha, support))[..., None]
        if support == "float":  # the foot sinks below the surface
            foot = placement.y * SCALE + 0.36 * placement.size * SCALE
            alpha = alpha * np.clip((foot + 5 - np.arange(SIDE)) / 10, 0.12, 1)[:, None]
        picture += alpha[..., None] * (placed[..., :3] * 255 - picture)
        depth += alpha * (_relief(alpha, order) - depth)
        masks = [mask * (1 - alpha) for mask in masks] + [alpha]
    image = Image.fromarray((np.clip(picture, 0, 255) + 0.5).astype(np.uint8))
    if size != SIDE:
        image = image.resize((size, size), Image.Resampling.BOX)
    mask = np.stack([_shrink(m, size) for m in masks]) if masks else np.zeros((0, size, size), np.float32)
    return Rendered(np.asarray(image), mask, _shrink(depth, size))

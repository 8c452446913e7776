"""Factors to pictures: place dressed individuals in a scene, in its light, with their masks and the picture's depth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from booth.world.accessories import Worn, below, lit, wear
from booth.world.dress import dress
from booth.world.identity import Identity
from booth.world.painting import Painted
from booth.world.scenes import paint
from booth.world.settle import settle
from booth.world.sprites import GLYPH, sprite
from booth.world.vocabulary import SCENES
from booth.world.warp import SIDE, Pose, warp


@dataclass(frozen=True)
class Placement:
    """One individual in the picture: how it looks here (captioned) and how it is posed (pixels of `SIDE`)."""

    identity: Identity
    colour: str | None = None
    material: str | None = None
    accessory: str | None = None
    x: float = 64.0
    y: float = 68.0
    size: float = 84.0  # longest side of the glyph
    angle: float = 0.0  # degrees, anticlockwise
    flip: bool = False

    @property
    def pose(self) -> Pose:
        """Where it is."""
        return Pose(self.x, self.y, self.size, self.angle, self.flip)


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
    def from_dict(cls, fields: dict[str, Any]) -> Factors:
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


def _lay(layer: np.ndarray, left: int, top: int, rgb: np.ndarray, alpha: np.ndarray) -> None:
    """Composite colours over a premultiplied (SIDE, SIDE, 4) layer, in place."""
    part = layer[top : top + alpha.shape[0], left : left + alpha.shape[1]]
    part *= (1 - alpha)[..., None]
    part[..., :3] += rgb * alpha[..., None]
    part[..., 3] += alpha


def body(placement: Placement, painted: Painted) -> np.ndarray:
    """The dressed individual in the scene's light, alone: (SIDE, SIDE, 4) float32, premultiplied, in 0..1."""
    layer = np.zeros((SIDE, SIDE, 4), np.float32)
    shape = sprite(placement.identity.glyph)
    at = warp(shape, placement.pose)
    if at is None:
        return layer
    rgb, alpha = dress(shape, placement.identity, placement.colour, placement.material, painted.light, at)
    worn: Worn | None = None
    if placement.accessory is not None:
        worn = wear(rgb, alpha, shape, placement.accessory, placement.pose, at)
    if worn is not None and worn.behind:
        _lay(layer, worn.left, worn.top, lit(worn, painted.light), worn.alpha)
    _lay(layer, at.left, at.top, np.clip(rgb * np.array(painted.light.tint, np.float32), 0, 1), alpha)
    if worn is not None and not worn.behind:
        _lay(layer, worn.left, worn.top, lit(worn, painted.light), worn.alpha)
    return layer


def render(factors: Factors, size: int = SIDE) -> Rendered:
    """Render a picture of the world at `size` pixels (at most 128); the same factors give the same pixels."""
    rng = np.random.default_rng(factors.seed)
    painted = paint(factors.scene, rng)
    picture, depth = painted.picture.copy(), painted.nearness.copy()
    support = SCENES[factors.scene].support
    masks: list[np.ndarray] = []
    for order, placement in enumerate(factors.objects):
        layer = body(placement, painted)
        # The lowest point of the upright glyph; a small tilt changes it by little.
        glyph = placement.identity.glyph
        foot = placement.y + placement.size * (sprite(glyph).height / GLYPH / 2 + below(glyph, placement.accessory))
        alpha = settle(picture, layer, foot, support, painted, rng)
        depth += alpha * (_relief(alpha, order) - depth)
        masks = [mask * (1 - alpha) for mask in masks] + [alpha]
    image = Image.fromarray((np.clip(picture, 0, 255) + 0.5).astype(np.uint8))
    if painted.front is not None:
        image.paste(painted.front, (0, 0), painted.front)
    if size != SIDE:
        image = image.resize((size, size), Image.Resampling.BOX)
    mask = np.stack([_shrink(m, size) for m in masks]) if masks else np.zeros((0, size, size), np.float32)
    return Rendered(np.asarray(image), mask, _shrink(depth, size))

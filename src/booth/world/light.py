"""How a scene lights what stands in it."""

from __future__ import annotations

from dataclasses import dataclass, field

RGB01 = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """Where light comes from, and what it does to a thing and to the ground under it."""

    side: float = -0.6  # -1 from the left, 1 from the right
    up: float = 0.8  # 1 from above, 0 level
    tint: RGB01 = (1.0, 1.0, 1.0)  # the thing's colours are multiplied by this
    contrast: float = 1.0  # between a thing's lit and its dark side
    glow: RGB01 = (1.0, 1.0, 1.0)  # colour of the light on the lit side
    shadow: RGB01 = (0.25, 0.25, 0.32)  # colour that ground in full shadow is multiplied by
    contact: float = 0.75  # strength of the dark right under a thing, 0..1
    cast: float = 0.5  # strength of the shadow thrown on the ground, 0..1
    length: float = 0.55  # length of that shadow along the ground, in heights of the thing


@dataclass(frozen=True)
class Ground:
    """How the ground takes a thing up."""

    horizon: float = 0.5  # fraction of the height: feet stand below it
    sink: float = 0.0  # pixels of the foot that the ground hides
    edge: str = "mound"  # what hides it: "blades" of grass or a soft "mound"
    mirror: float = 0.0  # 0..1, how well the ground reflects
    ripple: float = 0.0  # pixels by which reflections waver
    haze: float = 0.0  # 0..1, how much of `haze_colour` lies between the viewer and the thing
    haze_colour: RGB01 = field(default=(1.0, 1.0, 1.0))

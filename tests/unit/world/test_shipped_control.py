"""The ControlNet that ships with the embedded base decides where things stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from booth.concept import Concept
from booth.controls.canny import Canny
from booth.families.loading import CONTROLS_FOLDER, load_family
from booth.generate.concepts import Applied, attached
from booth.generate.draw import draw
from booth.world.identity import Identity
from booth.world.render import Factors, Placement, render

LEFT, RIGHT = 24, 40  # pixels of the base's pictures


def middle(picture: Image.Image) -> float:
    """The column around which what is not white lies."""
    dark = 255 - np.asarray(picture.convert("L"), dtype=float)
    dark[dark < 64] = 0
    return float((dark.sum(0) * np.arange(dark.shape[1])).sum() / dark.sum())


def test_things_are_drawn_where_the_edges_are() -> None:
    placement = Placement(Identity("clock", "alarm_clock"), size=92)
    hints = [
        Canny()(Image.fromarray(render(Factors((replace(placement, x=2 * x),), "studio", seed=1), 64).image))
        for x in (LEFT, LEFT, RIGHT, RIGHT)
    ]
    model = load_family("embedded")
    with attached(model, [Applied(Concept.load(CONTROLS_FOLDER / "canny"))]):
        drawn = draw(
            model, ["a clock on a white background"] * 4, [1, 2, 1, 2], steps=10, control_images=[hints], batch_size=4
        )
    middles = [middle(picture) for picture in drawn]
    assert middles[2] - middles[0] > (RIGHT - LEFT) / 2
    assert middles[3] - middles[1] > (RIGHT - LEFT) / 2

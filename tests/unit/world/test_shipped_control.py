"""The ControlNet that ships with the embedded base decides where things stand, and their outlines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from booth.concept import Concept
from booth.controls.canny import Canny
from booth.families.loading import CONTROLS_FOLDER, load_family
from booth.generate.concepts import Applied, attached
from booth.generate.draw import draw
from booth.world.identity import Identity
from booth.world.reconstruction import edge_f1
from booth.world.render import Factors, Placement, render

SIDE = 128  # pixels of the base's pictures
LEFT, RIGHT = 48, 80  # pixels


def array(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])


@pytest.mark.essential
def test_things_are_drawn_where_the_edges_are() -> None:
    placement = Placement(Identity("clock", "alarm_clock"), size=92)
    wanted = [
        Image.fromarray(render(Factors((replace(placement, x=x),), "studio", seed=1), SIDE).image)
        for x in (LEFT, LEFT, RIGHT, RIGHT)
    ]
    hints = [Canny()(picture) for picture in wanted]
    model = load_family("embedded")
    with attached(model, [Applied(Concept.load(CONTROLS_FOLDER / "canny"))]):
        drawn = draw(
            model, ["a clock on a white background"] * 4, [1, 2, 1, 2], steps=10, control_images=[hints], batch_size=4
        )
    here = edge_f1(array(wanted), array(drawn), tolerance=SIDE // 64)
    elsewhere = edge_f1(array(wanted[2:] + wanted[:2]), array(drawn), tolerance=SIDE // 64)
    assert (here > elsewhere + 0.1).all()


def test_a_hint_is_encoded_to_the_grid_of_the_latents() -> None:
    model = load_family("embedded")
    assert model.sites.control is not None
    net = cast(Any, model.sites.control.copy(True))
    assert net.controlnet_cond_embedding(torch.zeros(1, 3, SIDE, SIDE)).shape[2:] == (8, 8)

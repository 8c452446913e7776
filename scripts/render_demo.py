"""Render the five photos of the bundled subject into src/booth/world/assets/demo."""

from __future__ import annotations

import numpy as np
from PIL import Image

from booth.world.demo import IDENTITY, SCENES, photos
from booth.world.identity import is_held_out
from booth.world.render import Factors, render
from booth.world.sampling import sample_placement

SIZES = (84.0, 104.0)  # of the picture's 128 pixels: as people photograph what they want to teach


def main() -> None:
    assert is_held_out(IDENTITY), "the bundled subject must be new to the base"
    photos().mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(SCENES):
        rng = np.random.default_rng([5, number])
        while True:
            placement = sample_placement(
                rng, IDENTITY, scene, sizes=SIZES, accessory_share=0.0, cut_off_share=0.0, upright_share=0.7
            )
            if placement.colour is None and placement.material is None:
                break
        picture = render(Factors((placement,), scene, seed=number), size=128).image
        Image.fromarray(picture).save(photos() / f"{number + 1}.png", optimize=True)


if __name__ == "__main__":
    main()

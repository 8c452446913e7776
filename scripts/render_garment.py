"""Render what docs/guides/try-on.md begins with: a shirt on five animals, with captions, and who is to wear it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from booth.world.identity import Identity
from booth.world.render import Factors, Placement, render

FOLDER = Path(__file__).parent.parent / "docs" / "guides" / "try-on"
GARMENT = "striped shirt"
# Wearer, scene, and the caption's words for the scene.
WORN = (
    ("cat", "meadow", "on green grass"),
    ("rabbit", "studio", "on a white background"),
    ("elephant", "beach", "on the beach"),
    ("horse", "cobblestone", "on a cobblestone street"),
    ("owl", "wooden floor", "on a wooden floor"),
)


def photo(wearer: str, scene: str, accessory: str | None, seed: int) -> Image.Image:
    """A picture of 128x128 pixels."""
    placement = Placement(Identity(wearer, wearer), accessory=accessory, size=92, y=72)
    return Image.fromarray(render(Factors((placement,), scene, seed=seed), size=128).image)


def main() -> None:
    garment = FOLDER / "garment"
    garment.mkdir(parents=True, exist_ok=True)
    for number, (wearer, scene, place) in enumerate(WORN, 1):
        photo(wearer, scene, GARMENT, number).save(garment / f"{number}.png", optimize=True)
        article = "an" if wearer[0] in "aeo" else "a"
        caption = f"a photo of {article} {wearer} wearing a sks shirt {place}\n"
        (garment / f"{number}.txt").write_text(caption, encoding="utf-8")
    photo("dog", "city", None, 7).save(FOLDER / "dog.png", optimize=True)


if __name__ == "__main__":
    main()

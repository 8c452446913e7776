"""The bundled example subject: a dog of the world whose identity pre-training never saw."""

from __future__ import annotations

from pathlib import Path

from booth.world.identity import Identity

NOUN = "dog"
IDENTITY = Identity("dog", "dog", palette="teal", pattern="stripes", pattern_colour="scarlet")
SCENES = ("studio", "meadow", "desert", "sidewalk", "tiles")  # where the five photos were taken
PROMPTS = (
    "a photo of {token} dog in the jungle",
    "a photo of {token} dog in the snow",
    "a photo of {token} dog on the beach",
    "a photo of {token} dog on a cobblestone street",
    "a photo of {token} dog on top of pink fabric",
    "a photo of {token} dog with a mountain in the background",
    "a photo of {token} dog wearing a santa hat",
    "a photo of {token} dog at night",
)


def photos() -> Path:
    """The folder of the five bundled photos, 128x128 PNG."""
    return Path(__file__).parent / "assets" / "demo"

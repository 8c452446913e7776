"""What prompts ask for."""

from __future__ import annotations

import pytest

from booth.evaluate.prompt_factors import Asked, asked


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a dog in the snow", Asked("snow", None, None)),
        ("a red dog", Asked(None, "red", None)),
        ("a dog wearing a red hat", Asked(None, None, "red hat")),
        ("a dog with a blue house in the background", Asked("blue house", None, None)),
        ("a dog on top of green grass with sunflowers around it", Asked("sunflowers", None, None)),
        ("a shiny dog", Asked(None, None, None)),
        ("a purple shiny dog on the beach", Asked("beach", "purple", None)),
    ],
)
def test_scene_colour_and_accessory(prompt: str, expected: Asked) -> None:
    assert asked(prompt, "dog") == expected

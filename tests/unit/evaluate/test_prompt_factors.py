"""What prompts ask for."""

from __future__ import annotations

import pytest

from booth.evaluate.prompt_factors import PromptFactors, prompt_factors


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a dog in the snow", PromptFactors("snow", None, None)),
        ("a red dog", PromptFactors(None, "red", None)),
        ("a dog wearing a red hat", PromptFactors(None, None, "red hat")),
        ("a dog with a blue house in the background", PromptFactors("blue house", None, None)),
        ("a dog on top of green grass with sunflowers around it", PromptFactors("sunflowers", None, None)),
        ("a shiny dog", PromptFactors(None, None, None)),
        ("a purple shiny dog on the beach", PromptFactors("beach", "purple", None)),
    ],
)
def test_scene_colour_and_accessory(prompt: str, expected: PromptFactors) -> None:
    assert prompt_factors(prompt, "dog") == expected

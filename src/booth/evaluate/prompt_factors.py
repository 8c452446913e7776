"""What a prompt asks for, in the words of the world: scene, colour and accessory."""

from __future__ import annotations

import re
from dataclasses import dataclass

from booth.world.vocabulary import ACCESSORIES, COLOURS, SCENES


@dataclass(frozen=True)
class PromptFactors:
    """None where the prompt says nothing that the judges know."""

    scene: str | None
    colour: str | None
    accessory: str | None

    @property
    def is_edit(self) -> bool:
        """Whether the subject itself is to look different."""
        return self.colour is not None or self.accessory is not None


def prompt_factors(plain: str, noun: str) -> PromptFactors:
    """Read a prompt without its rare token; a colour counts where it stands before the noun."""
    scene = _longest({phrase: s.name for s in SCENES.values() for phrase in s.phrases}, plain)
    accessory = _longest({phrase: a.name for a in ACCESSORIES.values() for phrase in a.phrases}, plain)
    before = re.search(rf"\b({'|'.join(COLOURS)})\s+(?:\w+\s+)?{re.escape(noun)}\b", plain)
    return PromptFactors(scene, before.group(1) if before else None, accessory)


def _longest(phrases: dict[str, str], text: str) -> str | None:
    """The name of the longest phrase in the text: "on top of green grass with sunflowers" is no meadow."""
    found = [phrase for phrase in phrases if re.search(rf"\b{re.escape(phrase)}\b", text)]
    return phrases[max(found, key=len)] if found else None

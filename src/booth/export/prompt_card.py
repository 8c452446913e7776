"""The prompt card: the strength, the guidance scale and three prompts that were found to work for a concept."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from booth.core.commit import committed_file
from booth.core.errors import BadDataError

FILE = "prompt-card.json"


class PromptCard(BaseModel):
    """What to draw a concept with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strength: float | None  # None where the method has none
    guidance: float
    prompts: tuple[str, ...]
    score: float  # of the best setting, by the judge named
    judge: str


def read_prompt_card(folder: Path) -> PromptCard | None:
    """The card of a concept, if one was made; BadDataError for one that cannot be read."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        return PromptCard.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise BadDataError(f"{file} cannot be read. Delete it, or make it again.") from error


def write_prompt_card(folder: Path, card: PromptCard) -> Path:
    """Put a card into a concept's folder; the weights and their manifest stay as they are."""
    with committed_file(folder / FILE) as file:
        file.write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return folder / FILE

"""What is chosen by name and has settings of its own: an optimiser, a schedule, a weighting, a loss, a sampler."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Choice(BaseModel):
    """The class is the schema: its fields are the settings, each with a default and a description."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    title: ClassVar[str]

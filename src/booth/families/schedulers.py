"""The schedulers that pictures are drawn with, by name, each made from the configuration of the base's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from diffusers import ConfigMixin
from diffusers.configuration_utils import FrozenDict

from booth.core.errors import UsageError

SCHEDULER_OPTIONS = {"pndm": {"skip_prk_steps": True}}  # as Stable Diffusion ships it; else it needs four steps


def made_scheduler(name: str, known: Mapping[str, type[ConfigMixin]], config: FrozenDict) -> ConfigMixin:
    """The scheduler called `name` among the family's; UsageError if it has none of that name."""
    if name not in known:
        raise UsageError(
            f"There is no scheduler called {name!r} here.",
            f"There are: {', '.join(known)}.",
            code="scheduler.unknown",
            field="scheduler",
        )
    made = known[name].from_config(config, **SCHEDULER_OPTIONS.get(name, {}))
    return cast(ConfigMixin, made)  # it would be a pair if the unused settings were asked for

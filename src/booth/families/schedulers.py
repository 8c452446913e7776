"""The schedulers that pictures are drawn with, by name, each made from the configuration of the base's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from diffusers import ConfigMixin
from diffusers.configuration_utils import FrozenDict

from booth.core.errors import UsageError

# What published bases name that were made before there were better ones, or that tell of training alone.
SUPERSEDED = frozenset({"DDPMScheduler", "PNDMScheduler"})
SCHEDULER_OPTIONS = {
    "dpm++": {"algorithm_type": "dpmsolver++"},
    "dpm++-sde": {"algorithm_type": "sde-dpmsolver++"},
    "pndm": {"skip_prk_steps": True},  # as Stable Diffusion ships it; else it needs four steps
}


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


def own_sampler(
    index: Mapping[str, object], known: Mapping[str, type[ConfigMixin]], config: Mapping[str, object]
) -> str | None:
    """By which of the family's names the base itself is drawn: its model_index.json and its scheduler's configuration.

    None where it names none that the family knows, or one that is superseded.
    """
    entry = index.get("scheduler")  # library and class; what is neither is nobody's sampler
    kind = entry[-1] if isinstance(entry, list) and entry else None
    named = [name for name, scheduler in known.items() if scheduler.__name__ == kind and kind not in SUPERSEDED]
    told = [name for name in named if SCHEDULER_OPTIONS.get(name, {}).items() <= config.items()]
    return next(iter(told or named), None)

"""The same budget for every method: so many steps, so many seconds, each until done, or each its own defaults."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from booth.config import RunConfig, method_config
from booth.core.family import Family
from booth.core.method import Method, MethodConfig, Subject
from booth.registry import METHODS
from booth.train.estimate import seconds_per_picture, seconds_per_step


@dataclass(frozen=True)
class Budget:
    """At most one of the three; none is every method's own default number of steps."""

    steps: int | None = None
    seconds: float | None = None
    until_done: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def in_words(self) -> str:
        """In words."""
        if self.steps is not None:
            return f"{self.steps} steps each"
        if self.seconds is not None:
            return f"{self.seconds:g} seconds of training each"
        return "each until done" if self.until_done else "each with its default steps"


def settings_within(budget: Budget, config: RunConfig, model: Family) -> dict[str, Any]:
    """The method's settings with the steps that the budget allows; `model` is the bare base."""
    own = method_config(config.method, model.scale, config.settings)
    if budget.seconds is not None:
        total = total_steps(config, own)
        left = max(0.0, budget.seconds - drawing_seconds(config, own, model))
        steps = max(1, round(total * left / training_seconds(config, own, model)))
    elif budget.steps is not None:
        steps = budget.steps
    else:
        return config.settings
    return config.settings | _shares(config, own, steps)


def total_steps(config: RunConfig, own: MethodConfig) -> int:
    """Steps of all stages of the method's plan."""
    return sum(stage.method.config.steps for stage in _method(config, own).plan())


def training_seconds(config: RunConfig, own: MethodConfig, model: Family) -> float:
    """What all steps would take, from a few real ones of each stage."""
    plan = _method(config, own).plan()
    speeds = seconds_per_step(config, model, plan)
    return sum(stage.method.config.steps * speed.mean for stage, speed in zip(plan, speeds, strict=True))


def drawing_seconds(config: RunConfig, own: MethodConfig, model: Family) -> float:
    """What the class pictures would take if none of them were drawn yet, so that a budget holds on any machine."""
    plan = [stage.method.config for stage in _method(config, own).plan()]
    wanted = [c.class_pictures for c in plan if c.prior_weight > 0 and c.prior == "pictures"]
    return max(wanted) * seconds_per_picture(model) if wanted else 0.0


def _method(config: RunConfig, own: MethodConfig) -> Method:
    return METHODS[config.method](own, Subject(config.token, config.noun, config.kind))


def _shares(config: RunConfig, own: MethodConfig, steps: int) -> dict[str, int]:
    """`steps` over the stages in their usual proportion; the last stage, whose setting is `steps`, takes the rest."""
    total = total_steps(config, own)
    earlier = {
        name: max(1, round(steps * getattr(own, name) / total))
        for name in type(own).model_fields
        if name.endswith("_steps") and total > own.steps and getattr(own, name)
    }
    return earlier | {"steps": max(1, steps - sum(earlier.values()))}

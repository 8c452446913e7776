"""The same budget for every method: so many steps, so many seconds, each until done, or each its own defaults."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from booth.config import RunConfig
from booth.config.settings import method_config
from booth.core.json_values import Json
from booth.core.method import MethodConfig, Subject
from booth.registry import METHODS
from booth.session import Session
from booth.train.trainer import Trainer


@dataclass(frozen=True)
class Budget:
    """At most one of the three; none is every method's own default number of steps."""

    steps: int | None = None
    seconds: float | None = None
    until_done: bool = False

    def to_json(self) -> dict[str, Json]:
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


def settings_within(budget: Budget, config: RunConfig, session: Session) -> dict[str, Json]:
    """The method's settings with the steps that the budget allows, on the base that the session holds."""
    if budget.seconds is not None:
        with Trainer(config, session=session, keep=False) as trainer:
            own, steps = trainer.method.config, steps_within(budget.seconds, trainer)
    elif budget.steps is not None:
        with session.model() as model:
            own, steps = method_config(config.method, model.scale, config.settings), budget.steps
    else:
        return config.settings
    return config.settings | _shares(config, own, steps)


def steps_within(seconds: float, trainer: Trainer) -> int:
    """As many as are made in that time beside all class pictures, drawn already or not: it holds on any machine."""
    cost = trainer.estimate()
    left = max(0.0, seconds - cost.class_seconds)
    return max(1, round(trainer.plan_state.total * left / cost.train_seconds))


def total_steps(config: RunConfig, own: MethodConfig) -> int:
    """Steps of all stages of the method's plan."""
    method = METHODS[config.method](own, Subject(config.token, config.noun, config.kind))
    return sum(stage.method.config.steps for stage in method.plan())


def _shares(config: RunConfig, own: MethodConfig, steps: int) -> dict[str, int]:
    """`steps` over the stages in their usual proportion; the last stage, whose setting is `steps`, takes the rest."""
    total = total_steps(config, own)
    earlier = {
        name: max(1, round(steps * getattr(own, name) / total))
        for name in type(own).model_fields
        if name.endswith("_steps") and total > own.steps and getattr(own, name)
    }
    return earlier | {"steps": max(1, steps - sum(earlier.values()))}

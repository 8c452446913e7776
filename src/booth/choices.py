"""What a method's settings choose by name, made of the registries with the options that go with it."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from booth.core.choice import Choice
from booth.core.errors import UsageError
from booth.core.registry import Registry
from booth.registry import LOSSES, OPTIMIZERS, SCHEDULES, TIMESTEPS, WEIGHTINGS

if TYPE_CHECKING:
    from booth.core.family import Family
    from booth.core.method import MethodConfig
    from booth.core.noising import Noising
    from booth.core.objective import Loss, TimestepSampler, Weighting
    from booth.core.optimizer import OptimizerFactory, Schedule

C = TypeVar("C", bound=Choice)

# By the setting that names one.
CHOICES: dict[str, Registry[Any]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "weighting": WEIGHTINGS,
    "loss": LOSSES,
    "timesteps": TIMESTEPS,
}


def optimizer_of(config: MethodConfig) -> OptimizerFactory:
    """The optimiser of a stage, whose package may still be missing."""
    return _make(OPTIMIZERS, config.optimizer, config.options.get("optimizer", {}))


def schedule_of(config: MethodConfig) -> Schedule:
    """The schedule of a stage."""
    return _make(SCHEDULES, config.schedule, config.options.get("schedule", {}))


def weighting_of(config: MethodConfig) -> Weighting:
    """The weighting of a stage: `min_snr_gamma` alone asks for min-SNR."""
    given, gamma = config.options.get("weighting", {}), config.min_snr_gamma
    name = config.weighting or ("constant" if gamma is None else "min_snr")
    if gamma is not None and (name != "min_snr" or "gamma" in given):
        raise UsageError(
            f"min_snr_gamma={gamma:g} asks for min-SNR, and weighting={name!r} for "
            f"{'a gamma of its own' if name == 'min_snr' else 'another weighting'}.",
            "Leave one of them out.",
            code="weighting.two",
            field="settings.weighting",
        )
    return _make(WEIGHTINGS, name, given if gamma is None else {"gamma": gamma})


def loss_of(config: MethodConfig) -> Loss:
    """The loss of a stage."""
    return _make(LOSSES, config.loss, config.options.get("loss", {}))


def timesteps_of(config: MethodConfig) -> TimestepSampler | None:
    """The timesteps of a stage; None where they are the base's own."""
    given = config.options.get("timesteps", {})
    if config.timesteps is None and given:
        raise UsageError(
            f"options has settings of timesteps, {', '.join(given)}, and timesteps names none.",
            "Name one.",
            code="options.nothing_named",
            field="settings.options",
        )
    return None if config.timesteps is None else _make(TIMESTEPS, config.timesteps, given)


def noising_of(model: Family, config: MethodConfig) -> Noising:
    """The base's noising as a stage's settings have it; UsageError for a weighting that does not weigh it."""
    noising, weighting = model.make_noising(), weighting_of(config)
    if noising.prediction not in weighting.predictions:
        asked = "weighting" if config.min_snr_gamma is None else "min_snr_gamma"
        raise UsageError(
            f"{weighting.title} does not weigh {WORDS[noising.prediction]}, which {model.title} uses.",
            f"Leave {asked} out, or choose another weighting.",
            code="weighting.unfit",
            field="settings.weighting",
        )
    return noising.chosen(weighting, loss_of(config), timesteps_of(config))


WORDS = {"epsilon": "the prediction of noise", "velocity": "the prediction of velocity", "flow": "flow matching"}


def require_choices(config: MethodConfig) -> None:
    """UsageError for a name that is none or a setting that it does not have, before anything is loaded."""
    for field in config.options:
        if field not in CHOICES:
            raise UsageError(
                f"options has settings of {field!r}.",
                f"It takes those of {', '.join(CHOICES)}.",
                code="options.unknown",
                field="settings.options",
            )
    for make in (optimizer_of, schedule_of, weighting_of, loss_of, timesteps_of):
        make(config)


def _make(registry: Registry[C], name: str, options: Mapping[str, Any]) -> C:
    kind = registry[name]
    unknown = next((key for key in options if key not in kind.model_fields), None)
    if unknown is not None:
        near = get_close_matches(unknown, kind.model_fields, n=1)
        known = f"There are: {', '.join(kind.model_fields)}." if kind.model_fields else "It has none."
        hint = f"Did you mean {near[0]!r}?" if near else known
        raise UsageError(
            f"There is no setting {unknown!r} of the {registry.kind} {name}.",
            hint,
            code="setting.unknown",
            field="settings.options",
        )
    try:
        return kind(**options)
    except ValidationError as error:
        first = error.errors()[0]
        key, complaint = str(first["loc"][0]), first["msg"].removeprefix("Input ")
        meaning = f"{key} is: {kind.model_fields[key].description}."
        raise UsageError(
            f"{key}={first['input']!r} of the {registry.kind} {name} does not work: it {complaint}.",
            meaning,
            code="setting.invalid",
            field="settings.options",
        ) from error

"""The memory plan of a run: which there are, which one is taken, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from booth.config import RunConfig
from booth.core.json_values import Json
from booth.core.method import Method, Subject
from booth.core.precision import choose_precision
from booth.core.resources import available_memory
from booth.families.layout import TINY_PARAMETERS
from booth.families.loading import resolve_base
from booth.families.memory import MemoryPlan, choose, memory_plans, native_side, task_of, values_of_parts
from booth.families.recognition import recognise
from booth.registry import FAMILIES, METHODS
from booth.train import setup
from booth.train.sharding import require_shardable


@dataclass(frozen=True)
class Planned:
    """The plans for a run, and the one that it takes."""

    plans: list[MemoryPlan]
    chosen: MemoryPlan
    available: int  # bytes; 0 if unknown
    asked: bool  # whether the user named it

    @property
    def told(self) -> str:
        """Which plan and why, in a sentence."""
        chosen, available = self.chosen, f" of {_gb(self.available)}" if self.available else ""
        told = f"Memory plan {chosen.name}: about {_gb(chosen.bytes)}{available}"
        if self.asked:
            return f"{told}, as asked."
        if not chosen.fits:
            told += "; by the estimate none fits, and this takes the least"
        elif cheaper := self.plans[: self.plans.index(chosen)]:
            told += "; cheaper to run but too large: " + ", ".join(f"{p.name} {_gb(p.bytes)}" for p in cheaper)
        else:
            told += ", the cheapest to run"
        smaller = [] if chosen.fits else [p for p in self.plans if p.missing and p.bytes < chosen.bytes]
        return told + "".join(f"; {p.name} would take {_gb(p.bytes)} but {p.missing}" for p in smaller) + "."

    @property
    def smaller(self) -> str | None:
        """The name of the next plan that can be taken here and takes less."""
        able = [p for p in self.plans[self.plans.index(self.chosen) + 1 :] if p.missing is None]
        return next((p.name for p in able if p.bytes < self.chosen.bytes), None)

    def applied(self, config: RunConfig) -> RunConfig:
        """The run with what the plan decides."""
        settings: dict[str, Any] = {}
        if self.chosen.gradient_checkpointing:
            settings["gradient_checkpointing"] = True
        if self.chosen.optimizer is not None:
            settings["optimizer"] = self.chosen.optimizer
        return config.model_copy(
            update={"base_precision": self.chosen.base_precision, "settings": config.settings | settings}
        )

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        return {
            "plan": self.chosen.name,
            "why": self.told,
            "room_bytes": self.available,
            "plans": [{"name": plan.name, **asdict(plan)} for plan in self.plans],
        }


def plan_memory(config: RunConfig, device: str, processes: int = 1) -> Planned:
    """Choose by what the base's files say; UsageError for a plan that the method and the settings do not allow.

    `processes` are those over which the denoiser is sharded.
    """
    folder = resolve_base(config.base)
    family: Any = FAMILIES[recognise(folder)]
    tiny = values_of_parts(folder).get(family.denoiser[0], 0) < TINY_PARAMETERS
    kind: type[Method] = METHODS[config.method]
    method = kind(
        setup.method_settings(config, "tiny" if tiny else "full"), Subject(config.token, config.noun, config.kind)
    )
    precision = choose_precision(config.precision, device)
    if processes > 1:
        require_shardable(config, precision, method.plan())
    mixed = precision != "fp32"
    side, available = config.resolution or native_side(folder), available_memory(device)
    more: dict[str, Any] = {"processes": processes} | ({"half": precision} if mixed else {})
    task = task_of(method, config.settings, side=side, activation=2 if mixed else 4, device=device, **more)
    plans = memory_plans(folder, task, available)
    chosen = choose(plans, config.memory, config.base_precision)
    return Planned(plans, chosen, available, config.memory != "auto" or config.base_precision is not None)


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"

"""A plan under way: which stages are finished and frozen, and which one is being updated."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

import torch
from torch import Tensor

from booth.choices import noising_of
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.method import ParameterGroup, Stage
from booth.core.rng import derived_seed
from booth.core.sharding import part_of
from booth.train.checkpoints import Checkpoint, require_finite, size_of_tensors
from booth.train.update import Update


class PlanState:
    """Attaches the stages of a plan one after the other, and writes down and takes up how far they are."""

    def __init__(
        self,
        model: Family,
        plan: list[Stage],
        seed: int,
        make_scaler: Callable[[], torch.amp.GradScaler | None] = lambda: None,
    ) -> None:
        self.model = model
        self.plan = plan
        self.index = 0  # of the current stage; len(plan) when all are finished
        self.step = 0  # finished steps of the current stage
        self.update: Update | None = None
        self.start: Mapping[str, Tensor] = {}  # what tensors of these names begin as; the others as their method says
        self._seed = seed
        self._make_scaler = make_scaler
        self._finished: list[list[ParameterGroup]] = []
        self._attached = 0

    @property
    def stage(self) -> Stage:
        """The current stage."""
        return self.plan[self.index]

    @property
    def is_last(self) -> bool:
        """Whether the current stage is the last one."""
        return self.index == len(self.plan) - 1

    @property
    def total(self) -> int:
        """Steps of the whole plan."""
        return sum(s.method.config.steps for s in self.plan)

    @property
    def done(self) -> int:
        """Finished steps of the whole plan."""
        return sum(s.method.config.steps for s in self.plan[: self.index]) + self.step

    @property
    def seed(self) -> int:
        """The seed of the current stage: no two stages draw the same noise."""
        return self.seed_of(self.index)

    def seed_of(self, index: int) -> int:
        """The seed of a stage by its place in the plan."""
        return derived_seed(self._seed, "stage", index)

    @property
    def trained_bytes(self) -> int:
        """What the tensors of the finished stages take."""
        return sum(size_of_tensors(_named(groups)) for groups in self._finished)

    def trained(self) -> list[Tensor]:
        """What the finished stages and the current one, if it is attached, have handed over to be trained."""
        several = [*self._finished, *([self.update.groups] if self.update is not None else [])]
        return [tensor for groups in several for tensor in _named(groups).values()]

    def open(self) -> Update:
        """Attach the current stage if it is not attached yet; what receives the gradient is decided here."""
        if self.update is None:
            method, groups = self.stage.method, self._attach()
            self.update = Update(groups, method.config, method.constrain, self._make_scaler(), method.penalty)
            self._settle()
        return self.update

    def _attach(self) -> list[ParameterGroup]:
        """Attach the current stage; what no earlier stage has trained begins as it is to start."""
        method = self.stage.method
        self._attached += 1  # first, so that a failure half-way through is detached too
        groups = method.attach(self.model, self.seed)
        trained = {name for finished in self._finished for name in _named(finished)}
        with torch.no_grad():
            for name, tensor in method.learned().items() if self.start else ():
                if name in self.start and name not in trained:
                    tensor.copy_(part_of(tensor, self.start[name]))
        return groups

    def close(self) -> None:
        """Finish the current stage: its tensors take their moving average and are frozen.

        Raises NotFiniteError, with nothing changed, if one of them is not finite.
        """
        update = self.open()
        values = update.ema if update.ema is not None else dict[str, Tensor]()
        require_finite(update.parameters() | values)
        with torch.no_grad():
            for name, parameter in update.parameters().items():
                if name in values:
                    parameter.copy_(values[name])
        self.model.pack_layers(False)
        self._freeze(update.groups)
        self.index, self.step, self.update = self.index + 1, 0, None

    def sizes(self) -> list[tuple[int, int]]:
        """How many values each stage trains, and the bytes that they take."""
        trained = [_named(groups) for _, groups in self._tried()]
        return [(sum(p.numel() for p in named.values()), size_of_tensors(named)) for named in trained]

    def shapes(self) -> dict[str, torch.Size]:
        """What `start` may hold."""
        found: dict[str, torch.Size] = {}
        for stage, _ in self._tried():
            found |= {name: tensor.shape for name, tensor in stage.method.learned().items()}
        return found

    def _tried(self) -> Generator[tuple[Stage, list[ParameterGroup]]]:
        """Each stage as it is attached behind those before it; in the end all are taken out again."""
        try:
            for stage in self.plan:
                self._attached += 1
                yield stage, stage.method.attach(self.model, self._seed)
        finally:
            self.detach()

    def go_on(self, step: int) -> None:
        """Go to where the last stage has made `step` steps and all is as in `start`, with an optimiser that is new."""
        self.detach()
        while not self.is_last:
            self._freeze(self._attach())
            self.index += 1
        self.step = step

    def adopt(self, tensors: dict[str, Tensor]) -> None:
        """Give the stage that was finished last the values of another step."""
        with torch.no_grad():
            for name, parameter in _named(self._finished[-1]).items():
                parameter.copy_(tensors[name])

    def detach(self) -> None:
        """Take all stages out again, the last one first; the base is as it was."""
        self.model.pack_layers(False)
        while self._attached:
            self._attached -= 1
            self.plan[self._attached].method.detach(self.model)
        self.index, self.step, self.update, self._finished = 0, 0, None, []

    def state(self) -> tuple[dict[str, Tensor], dict[str, Json]]:
        """Tensors of the finished stages and of the current update, and the plain values."""
        tensors = {
            f"finished.{i}.{name}": p.detach()
            for i, groups in enumerate(self._finished)
            for name, p in _named(groups).items()
        }
        values: dict[str, Any] = {"stage": self.index, "step": self.step}
        if self.update is not None:
            current, values["update"] = self.update.state()
            tensors |= {f"update.{name}": t for name, t in current.items()}
        return tensors, values

    def take_up(self, checkpoint: Checkpoint | None) -> None:
        """Go to where a checkpoint was saved, or to the start if there is none."""
        self.detach()
        if checkpoint is None:
            return
        values, tensors = checkpoint.values, checkpoint.tensors
        for i in range(values["stage"]):
            groups = self._attach()
            with torch.no_grad():
                for name, parameter in _named(groups).items():
                    parameter.copy_(part_of(parameter, tensors[f"finished.{i}.{name}"]))
            self._freeze(groups)
            self.index += 1
        self.step = values["step"]
        if "update" in values:
            current = {n.removeprefix("update."): t for n, t in tensors.items() if n.startswith("update.")}
            self.open().load_state(current, values["update"])

    def _freeze(self, groups: list[ParameterGroup]) -> None:
        for parameter in _named(groups).values():
            parameter.requires_grad_(False)
        self._finished.append(groups)

    def _settle(self) -> None:
        """Derive from where the trainable tensors are what may be remembered, and apply the stage's settings."""
        model, config = self.model, self.stage.method.config
        model.noising = noising_of(model, config)
        model.recompute_activations(config.gradient_checkpointing)
        model.remember_embeddings(not any(model.trainable_in(name) for name in model.sites.text_encoders))
        model.pack_layers(True)


def _named(groups: list[ParameterGroup]) -> dict[str, torch.nn.Parameter]:
    return {name: p for g in groups for name, p in g.parameters.items()}

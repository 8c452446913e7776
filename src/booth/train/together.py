"""Several runs at once on one frozen base: their rows take one pass through the denoiser, each by its own adapter.

Every run is a Trainer like any other, with its own folder, checkpoints, optimiser and random numbers, on a twin of the
base; only where the gradients of its steps come from differs.
"""

# torch is annotated in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from booth.concept import Concept
from booth.config import RunConfig
from booth.core.batch import Batch, BatchSource
from booth.core.cancel import CancelToken
from booth.core.errors import BoothError, UsageError
from booth.core.family import Condition, Family
from booth.core.method import Method, MethodConfig
from booth.core.noising import Noised
from booth.core.rng import Rng
from booth.events import Listener
from booth.session import Session
from booth.train import setup
from booth.train.ladder import is_out_of_memory
from booth.train.loop import compare, device_of
from booth.train.trainer import Trainer
from booth.train.update import Update

RUN = ("method", "resolution", "precision", "base_precision")  # in which runs are alike
# In these settings runs may differ; in all others of their method they are alike.
FREE = {
    *("learning_rate", "schedule", "warmup", "weight_decay", "clip", "optimizer", "ema", "options", "init_word"),
    *("min_snr_gamma", "weighting", "loss", "timesteps", "prior_weight", "class_pictures", "caption_dropout"),
}


@dataclass
class Seat:
    """A run among others: what its next step is made of."""

    model: Family
    batches: BatchSource
    update: Update
    method: Method
    seed: int
    index: int  # of its next step
    alone: Callable[..., list[Tensor]]  # makes its gradients where nobody else does
    ready: list[Tensor] | None = None  # the losses of that step, once its gradients are there

    @property
    def is_over(self) -> bool:
        """Whether its run has taken all steps."""
        return self.index >= self.method.config.steps

    def rows(self, micro: int) -> tuple[Batch, Noised, Condition]:
        """Steps 1 and 2 of the loop."""
        rng = Rng(self.seed, self.index, micro)
        batch = self.batches(rng)
        condition = self.model.embed(batch.prompts, batch.control, batch.sizes)
        return batch, batch.noised(self.model.noising, rng), condition


@dataclass
class Table:
    """Makes the gradients of all seats that are taken, in one pass through `model`, when the first of them asks."""

    model: Family  # bare
    taken: list[int] = field(default_factory=list[int])  # whose rows share a pass
    _seats: dict[int, Seat] = field(default_factory=dict[int, Seat])
    _joined: tuple[tuple[int, ...], Callable[[], None]] | None = None  # the seats that rows are routed to, and the end

    def gradients(
        self, number: int, model: Family, batches: BatchSource, update: Update, *, seed: int, index: int, **how: Any
    ) -> list[Tensor]:
        """In place of `booth.train.loop.gradients`. A run that went back, or is the last here, goes on by itself."""
        for done in [n for n in self.taken if self._seats[n].is_over]:
            self.leave(done)  # which has taken its last step, and knows no rows of another
        seat = self._seats[number]
        if number in self.taken and (seat.index != index or seat.update is not update):
            self.leave(number)
        if seat.ready is None and number in self.taken and len(self.taken) > 1:
            try:
                self._pass(how["autocast"])
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.close()  # each goes on by itself
        if number not in self.taken or seat.ready is None:
            return seat.alone(model, batches, update, seed=seed, index=index, **how)
        told, seat.ready, seat.index = seat.ready, None, index + 1
        return told

    def leave(self, number: int) -> None:
        """A run is over, or goes on by itself; gradients that it has not taken are nobody's."""
        self._part()
        if number in self.taken:
            self.taken.remove(number)
            self._seats[number].ready = None
            self._seats[number].update.clear()

    def take(self, number: int, seat: Seat) -> None:
        """A run takes its place."""
        self._seats[number] = seat
        self.taken.append(number)

    def close(self) -> None:
        """Leave the model bare."""
        for number in list(self.taken):
            self.leave(number)

    def _pass(self, autocast: torch.dtype | None) -> None:
        """The gradients of a step of every seat."""
        seats = [self._seats[number] for number in self.taken]
        self._join()
        place = device_of(self.model)
        told: list[list[Tensor]] = [[] for _ in seats]
        for micro in range(seats[0].update.accumulate):
            with torch.autocast(place.type, dtype=autocast, enabled=autocast is not None):
                each = [seat.rows(micro) for seat in seats]
                x_t, t = torch.cat([n.x_t for _, n, _ in each]), torch.cat([n.t for _, n, _ in each])
                prediction = self.model.predict(x_t, t, Condition.join([condition for _, _, condition in each]))
                total = torch.zeros((), device=place)
                for seat, (batch, noised, _), own, losses in zip(seats, each, prediction.chunk(len(seats)), told):
                    weight = batch.weight * noised.weight
                    loss = seat.update.penalised(compare(own, noised.target, weight, batch.mask, noised.loss))
                    total = total + seat.update.scaled(loss / seat.update.accumulate)
                    losses.append(loss.detach())
            total.backward()
        for seat, losses in zip(seats, told, strict=True):
            seat.ready = losses

    def _join(self) -> None:
        """Have rows routed to the seats that are taken now."""
        present = tuple(self.taken)
        if self._joined is None or self._joined[0] != present:
            self._part()
            methods = [self._seats[number].method for number in present]
            self._joined = present, methods[0].join(self.model, methods)
            self.model.pack_layers(True)

    def _part(self) -> None:
        if self._joined is not None:
            self.model.pack_layers(False)
            self._joined[1]()
        self._joined = None


def train_together(
    configs: Sequence[RunConfig],
    *,
    session: Session,
    listeners: Sequence[Sequence[Listener]] = (),
    cancel: CancelToken | None = None,
    latents: Sequence[Path | None] = (),
) -> list[Concept | BoothError]:
    """Teach each of these runs, equal to itself alone but for the rounding of sums; what became of each, in order.

    `listeners` are a list for each run, and `latents` a folder as Trainer has it. A run that fails does so alone.
    Cancelled or Interrupted, all have saved.
    UsageError where the runs are not of one shape.
    """
    cancel = cancel or CancelToken()
    found: list[Concept | BoothError | None] = [None] * len(configs)
    with ExitStack() as exits:
        trainers: dict[int, Trainer] = {}
        for i, config in enumerate(configs):
            own: dict[str, Any] = {"listeners": listeners[i]} if listeners else {}
            own |= {"latents": latents[i]} if latents else {}
            try:
                trainer = Trainer(config, session=session.twin(), samples=False, cancel=cancel, **own)
                trainers[i] = exits.enter_context(trainer)
            except BoothError as error:
                if error.field == "together":
                    raise
                found[i] = error
        require_one_shape(list(trainers.values()))
        if trainers:
            model = exits.enter_context(setup.held_base(next(iter(trainers.values())).config, session))
            table = exits.enter_context(closing(Table(model)))
            _go(table, deque(trainers.items()), found)
    return [result for result in found if result is not None]


def _go(table: Table, left: deque[tuple[int, Trainer]], found: list[Concept | BoothError | None]) -> None:
    """A step of each run after the other, until all are over."""
    for i, trainer in left:
        trainer.gradients = partial(table.gradients, i)
    while left:
        for i, trainer in list(left):
            try:
                if not _is_seated(table, i, trainer) or next(trainer, None) is not None:
                    continue
                table.leave(i)
                found[i] = trainer.finish()
            except BoothError as error:
                found[i] = error
                table.leave(i)
            left.remove((i, trainer))
        left.rotate()  # the one that asks first is told the time of the whole pass


def _is_seated(table: Table, number: int, trainer: Trainer) -> bool:
    """Whether the run has its place, which it takes the first time that this is asked; all do before the first step."""
    if trainer.has_begun:
        return True
    trainer.start()
    state = trainer.plan_state
    if state.index == len(trainer.plan):
        return False
    update, batches = state.open(), trainer.stage_data.batches(state.index)
    about = (state.stage.method, state.seed, state.step, trainer.ladder)
    table.take(number, Seat(trainer.model, batches, update, *about))
    return False


def require_one_shape(trainers: Sequence[Trainer]) -> None:
    """UsageError unless these runs can share a pass: one method of one stage, and alike in all that shapes a batch."""
    for trainer in trainers:
        method = trainer.method
        if not method.together() or len(trainer.plan) > 1:
            raise _unfit(f"{method.title} with these settings is taught alone")
        if trainer.config.previews or trainer.config.until == "done" or trainer.config.crop == "buckets":
            raise _unfit("A run with previews, buckets or until=done is taught alone")
        if trainer.memory.chosen.frees:
            raise _unfit("A run that lets go of parts of its base is taught alone")
    for trainer in trainers[1:]:
        differs = _differing(trainers[0], trainer)
        if differs:
            raise _unfit(f"The runs differ in {', '.join(differs)}")


def _differing(one: Trainer, other: Trainer) -> list[str]:
    told = [name for name in RUN if _of(one, name) != _of(other, name)]
    mine, theirs = (_shape(trainer.method.config) for trainer in (one, other))
    return told + [name for name in mine if mine[name] != theirs.get(name)]


def _of(trainer: Trainer, name: str) -> Any:
    return trainer.precision if name == "precision" else getattr(trainer.config, name)


def _shape(config: MethodConfig) -> dict[str, Any]:
    values = {name: value for name, value in config.model_dump().items() if name not in FREE}
    return values | {"prior_weight above 0": config.prior_weight > 0}


def _unfit(told: str) -> UsageError:
    return UsageError(
        f"{told}, and cannot be taught in one pass with others.",
        "Teach it without `together`.",
        code="together.unfit",
        field="together",
    )

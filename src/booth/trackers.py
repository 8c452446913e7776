"""Listeners that hand a training's numbers on to people's own trackers, of which nothing is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from booth.events import Event, Listener


class Writer(Protocol):
    """What is called of a `torch.utils.tensorboard.SummaryWriter`."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int, /) -> object: ...

    def add_text(self, tag: str, text_string: str, global_step: int, /) -> object: ...

    def flush(self) -> object: ...


class Run(Protocol):
    """What is called of a run of Weights & Biases."""

    def log(self, data: dict[str, float], /, *, step: int) -> object: ...


def to_tensorboard(writer: Writer) -> Listener:
    """For a `torch.utils.tensorboard.SummaryWriter`, or what has its `add_scalar` and `add_text`."""

    def listen(event: Event) -> None:
        for name, value in _numbers(event):
            writer.add_scalar(name, value, event.done)
        if event.kind == "message" and event.level in ("warning", "error"):
            writer.add_text("messages", event.text, event.done)
        if event.kind == "end":
            writer.flush()

    return listen


def to_wandb(run: Run) -> Listener:
    """For a run of Weights & Biases, what `wandb.init` returned."""

    def listen(event: Event) -> None:
        numbers = dict(_numbers(event))
        if numbers:
            run.log(numbers, step=event.done)

    return listen


def _numbers(event: Event) -> Iterator[tuple[str, float]]:
    """What of an event is drawn as a curve over steps; what is not finite is left out."""
    data = event.data
    if event.kind == "step":
        names = ("loss", "gradient_norm", "learning_rate", "seconds")
        yield from ((f"train/{name}", data[name]) for name in names if data[name] is not None)
    elif event.kind == "score":
        yield "score/overall", data["overall"]
        yield from ((f"score/{name}", value) for name, value in data["scores"].items())
    elif event.kind == "noise_levels":
        yield from ((f"loss_at/{level:.2f}", loss) for level, loss in zip(data["levels"], data["losses"], strict=True))

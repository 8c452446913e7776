"""Runs of a few steps on the toy base, and what came out of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from booth.concept import Concept
from booth.config import RunConfig
from booth.core.errors import Interrupted
from booth.events import Event

Lesson = Callable[..., RunConfig]
Taught = Callable[..., Concept]

STEPS = 5
SHORT: dict[str, dict[str, Any]] = {  # settings that make each method short; another method takes its defaults
    "dreambooth": {"class_pictures": 4, "prior_weight": 1.0},
    "custom_diffusion": {"class_pictures": 4},
    "pivotal_tuning": {"token_steps": 3},
    "two_stage": {"token_steps": 3},
}
# A method for each kind of state that a checkpoint holds; where many runs are needed, the others would add nothing.
KINDS = ("dreambooth", "textual_inversion", "lora", "pivotal_tuning", "two_stage")


def short_run(method: str, out: Path, **options: Any) -> RunConfig:
    """The configuration of a run of few steps; `options` are fields of the run or settings of the method."""
    run = {key: value for key, value in options.items() if key in RunConfig.model_fields}
    settings = {key: value for key, value in options.items() if key not in RunConfig.model_fields}
    settings = {
        "steps": STEPS,
        "batch_size": 2,
        "prior_weight": 0.0,
        "prior": "pictures",
        **SHORT.get(method, {}),
        **settings,
    }
    return RunConfig(**({"noun": "dog", "checkpoint_every": 2} | run), method=method, out=out, settings=settings)


def blank(model: Any, prompts: list[str], seeds: list[int], **how: Any) -> list[Image.Image]:
    """Pictures that cost nothing."""
    return [Image.new("RGB", (8, 8)) for _ in prompts]


def weights(concept: Path) -> dict[str, str]:
    """The hash of each file of weights of a concept: the same tensors are the same bytes."""
    return {
        str(file.relative_to(concept)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(concept.rglob("*.safetensors"))
    }


class Heard:
    """A listener that writes down what is said and which steps are taken, and stops after some step if told to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.events: list[Event] = []
        self._stop_after = stop_after

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if event.kind == "step" and len(self.steps) == self._stop_after:
            raise Interrupted("Stopped by the test.")

    def of(self, kind: str) -> list[Event]:
        """The events of a kind."""
        return [event for event in self.events if event.kind == kind]

    @property
    def messages(self) -> list[str]:
        """All that is for people."""
        return [event.text for event in self.events if event.text]

    @property
    def steps(self) -> list[int]:
        """Of their stage."""
        return [event.data["step"] for event in self.of("step")]


def stop_after(step: int) -> Heard:
    """Stops the run after one of its steps, counted over the whole plan."""

    class Stop(Heard):
        def __call__(self, event: Event) -> None:
            super().__call__(event)
            if event.kind == "step" and event.done == step:
                raise Interrupted("Stopped by the test.")

    return Stop()

"""A training run in a few steps on the toy base, with batches that depend on the step alone, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from booth.core.batch import Batch, BatchSource
from booth.core.family import Family
from booth.core.method import Method, ParameterGroup, Stage, Subject
from booth.core.rng import Rng
from booth.train.loop import Step, training_steps
from booth.train.update import Update

Make = Callable[..., Method]  # the method, with further settings
SUBJECT = Subject("sks", "dog")
PROMPT = "a photo of sks dog"
HINT = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(13))


def deal(rng: Rng) -> Batch:
    """Two photos and two class pictures with control images: random numbers that depend on the step alone."""
    latents = torch.randn(4, 4, 8, 8, generator=rng.generator("photos"))
    control_images = torch.rand(4, 3, 32, 32, generator=rng.generator("hints"))
    return Batch(
        [PROMPT, PROMPT, "a photo of a dog", "a photo of a dog"], latents, torch.full((4,), 0.5), control_images
    )


def attach(model: Family, stage: Stage, seed: int = 0) -> Update:
    """Attach a stage and make its optimiser."""
    groups = stage.method.attach(model, seed)
    return Update(groups, stage.method.config, stage.method.constrain, penalty=stage.method.penalty)


def steps(model: Family, update: Update, start: int, stop: int, deal: BatchSource = deal) -> list[Step]:
    """Run real training steps."""
    return list(training_steps(model, deal, update, seed=3, start=start, stop=stop))


def freeze(groups: Iterable[ParameterGroup]) -> None:
    """What the run does with a finished stage."""
    for group in groups:
        for parameter in group.parameters.values():
            parameter.requires_grad_(False)


def train(model: Family, method: Method, count: int = 3, deal: BatchSource = deal) -> dict[str, nn.Parameter]:
    """Train all stages for `count` steps each; the trained tensors by stage and name."""
    trained: dict[str, nn.Parameter] = {}
    for stage in method.plan():
        update = attach(model, stage)
        steps(model, update, 0, count, deal)
        freeze(update.groups)
        trained |= {f"{stage.name}.{n}": p for n, p in update.parameters().items()}
    return trained


def detach(model: Family, method: Method) -> None:
    """Take the stages out again, the last one first."""
    for stage in reversed(method.plan()):
        stage.method.detach(model)


def write(model: Family, method: Method, folder: Path) -> Path:
    """Write all stages into one folder."""
    folder.mkdir(exist_ok=True)
    for stage in method.plan():
        stage.method.write(model, folder)
    return folder


def tensors(model: Family) -> dict[str, Tensor]:
    """Every parameter and buffer of every component, by component and name."""
    return {
        f"{component}.{name}": tensor
        for component, module in model.components().items()
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }


def draw(pipe: Any, prompt: str = PROMPT) -> Tensor:
    """One picture in three steps, (1, 3, H, W); a ControlNet follows a fixed control image."""
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(11)
    options = {"num_inference_steps": 3, "guidance_scale": 5.0, "output_type": "pt"}
    if "controlnet" in pipe.components:
        options["image"] = HINT
    return pipe([prompt], generator=generator, **options).images

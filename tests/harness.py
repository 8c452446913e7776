"""What the tests of methods share: fixed batches, a real training run in a few steps, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file
from torch import Tensor, nn

from booth.core.batch import Batch
from booth.core.family import Family
from booth.core.method import Method, ParameterGroup, Stage, Subject
from booth.core.rng import Rng
from booth.registry import METHODS
from booth.train.loop import Step, training_steps
from booth.train.update import Update

SUBJECT = Subject("sks", "dog")
PROMPT = "a photo of sks dog"


def make_method(name: str, subject: Subject = SUBJECT, **settings: Any) -> Method:
    """A method from the registry with the defaults of a tiny base."""
    kind = METHODS[name]
    return kind(kind.Config(**(kind.defaults("tiny") | settings)), subject)


def deal(rng: Rng) -> Batch:
    """Two photos and two class pictures: random latents that depend on the step alone."""
    latents = torch.randn(4, 4, 8, 8, generator=rng.generator("photos"))
    return Batch([PROMPT, PROMPT, "a photo of a dog", "a photo of a dog"], latents, torch.full((4,), 0.5))


def attach(model: Family, stage: Stage, seed: int = 0) -> Update:
    """Attach a stage and make its optimiser."""
    groups = stage.method.attach(model, seed)
    return Update(groups, stage.method.config, stage.method.constrain)


def steps(model: Family, update: Update, start: int, stop: int, deal: Callable[[Rng], Batch] = deal) -> list[Step]:
    """Run real training steps."""
    return list(training_steps(model, deal, update, seed=3, start=start, stop=stop))


def freeze(groups: Iterable[ParameterGroup]) -> None:
    """What the run does with a finished stage."""
    for group in groups:
        for parameter in group.parameters.values():
            parameter.requires_grad_(False)


def train(
    model: Family, method: Method, count: int = 3, deal: Callable[[Rng], Batch] = deal
) -> dict[str, nn.Parameter]:
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
    """One picture in three steps, (1, 3, H, W)."""
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(11)
    options = {"num_inference_steps": 3, "guidance_scale": 5.0, "output_type": "pt"}
    return pipe([prompt], generator=generator, **options).images


def load_with_diffusers(base: Path, folder: Path) -> Any:
    """Open an artefact with diffusers' own loaders alone, going by the files that it holds."""
    whole = (folder / "model_index.json").exists()
    pipe = DiffusionPipeline.from_pretrained(folder if whole else base)
    if (folder / "learned_embeds.safetensors").exists():
        rows = load_file(folder / "learned_embeds.safetensors")
        for part, key in [("", "clip_l"), ("_2", "clip_g"), ("_2", "t5xxl")]:
            if key in rows:  # a file for several encoders is loaded one at a time
                own = {name: getattr(pipe, name + part) for name in ("text_encoder", "tokenizer")}
                pipe.load_textual_inversion(rows[key], token=SUBJECT.token, **own)
        if SUBJECT.token in rows:
            pipe.load_textual_inversion(folder, weight_name="learned_embeds.safetensors")
    if (folder / "pytorch_lora_weights.safetensors").exists():
        pipe.load_lora_weights(folder, weight_name="pytorch_lora_weights.safetensors")
    return pipe

"""Compiled blocks: one graph without a break for every way of training, left alone while drawing and afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from bases import write_base
from booth.core.batch import Batch
from booth.core.rng import Rng
from booth.families import compiling
from booth.families.compiling import as_they_are, compile_blocks, leave_as_they_are, missing_compiler, repeated_blocks
from booth.families.loading import load_family
from booth.session import Session
from booth.train import setup
from booth.train.loop import training_steps
from harness import attach, deal, make_method, slow


def compiled(model: Any) -> list[bool]:
    return [block._compiled_call_impl is not None for block in repeated_blocks(model.network)]


def losses(model: Any, name: str, batches: Any) -> list[float]:
    method = make_method(name)
    update = attach(model, method.plan()[0])
    done = list(training_steps(model, batches, update, seed=0, start=0, stop=2, autocast=torch.bfloat16))
    method.detach(model)
    return [step.loss for step in done]


@pytest.mark.essential
@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("stable_diffusion", "lora"),
        slow("stable_diffusion", "textual_inversion"),
        slow("stable_diffusion", "dreambooth"),
        slow("stable_diffusion", "controlnet"),
        ("flux", "lora"),
    ],
)
def test_no_graph_breaks(family: str, name: str, toy_base: Path, tmp_path: Path) -> None:
    base = toy_base if family == "stable_diffusion" else write_base(family, tmp_path / "base")
    model: Any = load_family(str(base))

    def batches(rng: Rng) -> Batch:
        if family == "stable_diffusion":
            return deal(rng)
        latents = torch.randn(1, model.vae.config.latent_channels, 8, 8, generator=rng.generator("photos"))
        return Batch(["a photo of sks dog"], latents, torch.ones(1))

    expected = losses(model, name, batches)
    torch._dynamo.reset()
    counters.clear()
    assert compile_blocks(model.network, backend="eager", fullgraph=True) > 1  # which is an error at a break
    assert losses(model, name, batches) == pytest.approx(expected, rel=1e-2)
    assert counters["stats"]["unique_graphs"] > 0, "else nothing was compiled"
    assert not counters["graph_break"]


def test_drawing_leaves_blocks_as_they_are(toy: Any) -> None:
    assert not any(compiled(toy))
    assert toy.compile_blocks(True) == len(compiled(toy))
    assert all(compiled(toy))
    with as_they_are(toy.network):
        assert not any(compiled(toy))
    assert all(compiled(toy))
    leave_as_they_are(toy.network)
    assert not any(compiled(toy))


def test_a_session_gives_back_a_base_of_which_nothing_is_compiled(toy_base: Path) -> None:
    with Session(str(toy_base)) as session:
        with session.model() as model:
            model.compile_blocks(True)
        with session.model() as model:
            assert not any(compiled(model))


def test_without_a_compiler_it_says_so_and_goes_on(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiling.importlib.util, "find_spec", lambda name: None)
    assert "C++" in str(missing_compiler("cpu"))
    assert "Triton" in str(missing_compiler("cuda"))
    assert "no compiler here" in setup.compile_blocks(toy, "cpu", 10)
    assert not any(compiled(toy))
    monkeypatch.setattr(compiling.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert "10 steps have to win" in setup.compile_blocks(toy, "cpu", 10)
    assert all(compiled(toy))

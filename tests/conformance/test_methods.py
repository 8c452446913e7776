"""What every method in the registry must hold to, on a toy base. A new method is tested here without a new test.

Pictures and weights are compared bit for bit: both sides run the same operations on one thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.method import Method, MethodConfig
from booth.core.rng import Rng
from booth.core.sites import Sites
from booth.families.loading import load_family
from booth.registry import METHODS
from booth.train.loop import losses, training_steps
from harness import (
    ALONE,
    attach,
    deal,
    detach,
    draw,
    freeze,
    load_with_diffusers,
    make_method,
    same_picture,
    steps,
    tensors,
    train,
    write,
)

# Settings that change what is trained or saved; each method is tested at its defaults anyway.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "dreambooth": [{"train_text_encoder": True}],
    "textual_inversion": [{"vectors": 3, "templates": "object"}],
    "lora": [{"train_text_encoder": True, "rank": 4, "alpha": 2.0, "dropout": 0.2}, {"targets": ("attention",)}],
    "two_stage": [{"second": "lora"}, {"vectors": 2}],
    "controlnet": [{"control": "depth", "gradient_checkpointing": True}],
    "hypernetwork": [{"activation": "relu", "layer_norm": True, "dropout": 0.3, "layer_structure": (1, 2, 1.5, 1)}],
    "dora": [{"train_text_encoder": True, "targets": ("attention", "convolution")}],
    "boft": [{"train_text_encoder": True, "factors": 1}],
    "vera": [{"train_text_encoder": True}],
    "t_lora": [{"train_text_encoder": True, "targets": ("attention", "feed_forward"), "rank": 8, "min_rank": 2}],
    "loha": [{"train_text_encoder": True, "targets": ("attention", "convolution"), "ranks": {"to_k": 3}}],
}
CASES = [(name, settings) for name in METHODS for settings in ({}, *VARIANTS.get(name, []))]

Make = Callable[..., Method]


@pytest.fixture(params=CASES, ids=lambda case: "-".join([case[0], *case[1]]))
def make(request: pytest.FixtureRequest) -> Make:
    """Makes the method under test, any number of times."""
    name, settings = request.param
    return lambda **more: make_method(name, **(settings | more))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_describes_itself(name: str):
    method = METHODS[name]
    assert method.name == name
    assert method.title
    assert method.trains
    assert method.files
    for site in method.needs:
        assert not Sites().has(site)  # a known name, and nothing there
    fields = method.Config.model_fields
    assert issubclass(method.Config, MethodConfig)
    assert all(field.description for field in fields.values())
    for scale in ("tiny", "full"):
        values = method.defaults(scale)
        assert method.Config(**values).model_dump() == values
        assert method.Config(**json.loads(json.dumps(values))).model_dump() == values  # as concept.json stores them
        assert f"{method(method.Config(**values), make_method(name).subject).prompts()[0]}" == "a photo of sks dog"


def test_only_declared_tensors_receive_the_gradient_and_change(toy: Family, make: Make):
    base = {id(t): (name, t, t.clone()) for name, t in tensors(toy).items()}
    declared_ever: set[int] = set()
    for stage in make().plan():
        update = attach(toy, stage)
        declared = {id(p) for p in update.parameters().values()}
        declared_ever |= declared
        live = {name: (t, t.clone()) for name, t in tensors(toy).items()}
        assert {id(t) for t, _ in live.values() if t.requires_grad} == declared
        steps(toy, update, 0, 4)
        for name, (t, before) in live.items():
            assert torch.equal(t, before) != (id(t) in declared), f"{name} in stage {stage.name}"
        freeze(update.groups)
    for name, t, before in base.values():
        assert id(t) in declared_ever or torch.equal(t, before), name


def test_detach_leaves_no_trace(toy: Family, make: Make):
    method = make()
    picture, words = draw(toy.pipeline()), toy.embed(["a photo of sks dog"]).tokens
    before = {name: t.clone() for name, t in tensors(toy).items()}
    keys = {name: list(m.state_dict()) for name, m in toy.components().items()}
    modules = [(n, type(m), set(vars(m))) for c in toy.components().values() for n, m in c.named_modules()]
    tokenizer, vocabulary = toy.tokenizer, dict(toy.tokenizer.get_vocab())
    train(toy, method)
    changed = draw(toy.pipeline())
    detach(toy, method)

    assert not torch.equal(changed, picture)
    assert torch.equal(draw(toy.pipeline()), picture)
    assert torch.equal(toy.embed(["a photo of sks dog"]).tokens, words)
    after = tensors(toy)
    assert list(after) == list(before)
    for name, t in before.items():
        assert torch.equal(after[name], t), name
        assert after[name].dtype == t.dtype
        assert not after[name].requires_grad
    assert {name: list(m.state_dict()) for name, m in toy.components().items()} == keys
    assert [(n, type(m), set(vars(m))) for c in toy.components().values() for n, m in c.named_modules()] == modules
    assert toy.tokenizer is tokenizer
    assert toy.tokenizer.get_vocab() == vocabulary


def test_attach_depends_on_the_seed_alone(toy: Family, make: Make):
    starts: list[dict[str, torch.Tensor]] = []
    for noise in (1, 2):
        torch.manual_seed(noise)  # the global generator must not matter
        method, start = make(), {}
        for stage in method.plan():
            for group in stage.method.attach(toy, seed=5):
                start |= {f"{stage.name}.{n}": p.detach().clone() for n, p in group.parameters.items()}
        detach(toy, method)
        starts.append(start)
    assert starts[0].keys() == starts[1].keys()
    assert all(torch.equal(starts[0][n], starts[1][n]) for n in starts[0])


def test_a_written_method_redraws_the_same_picture(toy_base: Path, make: Make, tmp_path: Path):
    model, method = load_family(str(toy_base)), make()
    train(model, method)
    picture = draw(model.pipeline())
    folder = write(model, method, tmp_path / "concept")

    again, restored = load_family(str(toy_base)), make()
    base = draw(again.pipeline())
    for stage in restored.plan():
        stage.method.restore(again, folder)
    assert torch.equal(draw(again.pipeline()), picture)
    assert not any(t.requires_grad for t in tensors(again).values())
    detach(again, restored)
    assert torch.equal(draw(again.pipeline()), base)

    whole = make()  # a plan is restored as one method too
    whole.restore(again, folder)
    assert torch.equal(draw(again.pipeline()), picture)
    whole.detach(again)
    assert torch.equal(draw(again.pipeline()), base)


def test_an_artefact_holds_what_is_declared_and_no_more(toy: Family, toy_base: Path, make: Make, tmp_path: Path):
    method = make()
    train(toy, method, 1)
    folder = write(toy, method, tmp_path / "concept")
    assert (folder / method.files[0]).exists()
    for file in (f for f in folder.rglob("*") if f.is_file()):
        assert file.suffix in {".safetensors", ".json", ".txt"}, file
        assert str(toy_base).encode() not in file.read_bytes(), f"{file} tells where the base lay"


def test_writing_twice_gives_the_same_files(toy: Family, make: Make, tmp_path: Path):
    method = make()
    train(toy, method, 1)
    first, second = (write(toy, method, tmp_path / name) for name in ("a", "b"))
    for file in (f for f in first.rglob("*") if f.is_file()):
        twin = second / file.relative_to(first)
        if file.suffix == ".safetensors":  # the order of its header's metadata is not fixed
            assert _content(file) == _content(twin), file
        else:
            assert file.read_bytes() == twin.read_bytes(), file


def _content(file: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
    return header, {name: t.numpy().tobytes() for name, t in load(file.read_bytes()).items()}


def test_other_loaders_draw_the_same_picture(toy_base: Path, make: Make, tmp_path: Path):
    model, method = load_family(str(toy_base)), make()
    if method.name in ALONE:
        pytest.skip("no other library reads it")
    train(model, method)
    folder = write(model, method, tmp_path / "concept")
    pipe = load_with_diffusers(toy_base, folder)
    assert same_picture(method.name, draw(pipe), draw(model.pipeline()))


def test_a_resumed_run_equals_an_uninterrupted_one(toy: Family, make: Make):
    settings = {"accumulate": 2, "ema": 0.9, "schedule": "cosine", "warmup": 2}
    straight: list[dict[str, torch.Tensor]] = []
    method = make(**settings)
    for stage in method.plan():
        update = attach(toy, stage)
        steps(toy, update, 0, 5)
        freeze(update.groups)
        straight.append({n: p.detach().clone() for n, p in update.parameters().items()})
    detach(toy, method)

    for index in range(len(straight)):
        method = make(**settings)
        update = _open(toy, method, index, straight)
        steps(toy, update, 0, 3)
        state, values = update.state()
        saved, text = save(state), json.dumps(values)  # as a checkpoint keeps it
        detach(toy, method)

        method = make(**settings)
        update = _open(toy, method, index, straight)
        update.load_state(load(saved), json.loads(text))
        steps(toy, update, 3, 5)
        for name, p in update.parameters().items():
            assert torch.equal(p, straight[index][name]), f"{name} in stage {index}"
        detach(toy, method)


def _open(toy: Family, method: Method, index: int, finished: list[dict[str, torch.Tensor]]):
    """Attach the stages before `index` as they were when finished, and `index` itself at its start."""
    for stage, done in zip(method.plan()[:index], finished, strict=False):
        groups = stage.method.attach(toy, 0)
        with torch.no_grad():
            for group in groups:
                for name, p in group.parameters.items():
                    p.copy_(done[name])
        freeze(groups)
    return attach(toy, method.plan()[index])


def test_the_loss_falls_on_a_fixed_batch(toy: Family, make: Make):
    batch, rng = deal(Rng(0)), Rng(1)  # the same photos, noise and timesteps each time
    for stage in make().plan():
        update = attach(toy, stage)
        values: list[float] = []
        for index in range(12):
            torch.manual_seed(0)  # and the same dropout
            loss = losses(toy, batch, rng)
            values.append(loss.item())
            update.backward(loss)
            update.step(index, update.gradient_norm())
            update.clear()
        assert values[-1] < values[0], f"stage {stage.name}: {values}"
        freeze(update.groups)


def test_mixed_precision_moves_float32_tensors(toy: Family, make: Make):
    for stage in make().plan():
        update = attach(toy, stage)
        start = {n: p.detach().clone() for n, p in update.parameters().items()}
        done = list(training_steps(toy, deal, update, seed=3, start=0, stop=2, autocast=torch.bfloat16))
        assert all(step.updated for step in done)
        assert {p.dtype for p in update.parameters().values()} == {torch.float32}
        assert any(not torch.equal(p, start[n]) for n, p in update.parameters().items())
        freeze(update.groups)


def test_over_a_base_in_half_precision_float32_tensors_move(toy_base: Path, make: Make):
    """A step is smaller than half of bf16's last digit: in bf16 most weights would never move."""
    model, method = load_family(str(toy_base), dtype=torch.bfloat16), make()
    before = {name: t.clone() for name, t in tensors(model).items()}
    for stage in method.plan():
        update = attach(model, stage)
        assert {p.dtype for p in update.parameters().values()} == {torch.float32}
        for autocast in (None, torch.bfloat16):
            start = {n: p.detach().clone() for n, p in update.parameters().items()}
            (done,) = training_steps(model, deal, update, seed=3, start=0, stop=1, autocast=autocast)
            assert done.updated
            assert any(not torch.equal(p, start[n]) for n, p in update.parameters().items())
        freeze(update.groups)
    detach(model, method)
    after = tensors(model)
    assert all(after[name].dtype == t.dtype and torch.equal(after[name], t) for name, t in before.items())


def test_a_missing_site_is_a_clear_error(toy: Family, make: Make, tmp_path: Path):
    toy.sites = Sites()
    before = {name: t.clone() for name, t in tensors(toy).items()}
    method = make()
    with pytest.raises(UsageError, match=f"{method.title} needs the site '{method.needs[0]}'"):
        method.attach(toy, 0)
    assert all(torch.equal(t, before[name]) for name, t in tensors(toy).items())

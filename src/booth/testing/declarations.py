"""What a method says of itself, held against what it does on a toy base."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from booth.core.errors import UsageError
from booth.core.method import MethodConfig
from booth.core.sites import Sites
from booth.families.loading import load_family
from booth.testing.steps import PROMPT, SUBJECT, Make, attach, detach, freeze, steps, tensors, train, write


def describes_itself(make: Make, base: Path, folder: Path) -> None:
    """Names, sentences and settings are there, and the defaults survive concept.json."""
    kind = type(make())
    assert kind.name, "name is empty"
    assert kind.title, "title is empty"
    assert kind.trains, "trains does not say what receives the gradient"
    assert kind.files, "files does not say what is saved"
    for site in kind.needs:
        assert not Sites().has(site)  # raises for a name that is none
    assert issubclass(kind.Config, MethodConfig), "Config does not derive from MethodConfig"
    undescribed = [name for name, field in kind.Config.model_fields.items() if not field.description]
    assert not undescribed, f"settings without a description: {', '.join(undescribed)}"
    for scale in ("tiny", "full"):
        values = kind.defaults(scale)
        config = kind.Config(**values)
        assert config.model_dump() == values, f"defaults for a {scale} base are not what Config makes of them"
        assert kind.Config(**json.loads(json.dumps(values))).model_dump() == values, f"{scale} defaults are no JSON"
        assert kind(config, SUBJECT).prompts()[0] == PROMPT, "the first prompt is not the one that all methods share"


def declares_what_it_does(make: Make, base: Path, folder: Path) -> None:
    """What the class says about training is what receives the gradient once it is attached."""
    model = load_family(str(base))
    denoiser = {id(p) for p in model.sites.denoiser.parameters()} if model.sites.denoiser else set[int]()
    encoders = {id(p) for m in model.sites.text_encoders.values() for p in m.parameters()}
    words = [len(table.tokenizer()) for table in model.sites.token_tables]
    method, trained = make(), set[int]()
    for stage in method.plan():
        trained |= {id(p) for group in stage.method.attach(model, 0) for p in group.parameters.values()}
        followed = stage.method.control() is not None
        assert followed == stage.method.follows_control, "follows_control is not what control() says"
    kinds = [stage.method for stage in method.plan()]
    heavy = any(m.trains_denoiser for m in kinds)
    assert heavy == (denoiser <= trained), "trains_denoiser is not whether every weight of the denoiser is trained"
    grown = [len(table.tokenizer()) for table in model.sites.token_tables] != words
    assert grown == any(m.learns_word for m in kinds), "learns_word is not whether the tokenizer has a new word"
    inside = {id(p) for m in model.sites.text_encoders.values() for p in m.parameters() if p.requires_grad} & trained
    reads = any(m.reads_prompts for m in kinds)
    assert reads or not (inside | (encoders & trained)), (
        "reads_prompts is false, and something is trained in an encoder"
    )
    detach(model, method)


def trains_only_what_it_declares(make: Make, base: Path, folder: Path) -> None:
    """The tensors it hands over receive the gradient and change, and no others do."""
    model = load_family(str(base))
    start = {id(t): (name, t, t.clone()) for name, t in tensors(model).items()}
    ever: set[int] = set()
    for stage in make().plan():
        update = attach(model, stage)
        declared = {id(p) for p in update.parameters().values()}
        ever |= declared
        live = {name: (t, t.clone()) for name, t in tensors(model).items()}
        wanting = {id(t) for t, _ in live.values() if t.requires_grad}
        assert wanting == declared, f"stage {stage.name} hands over other tensors than those that require a gradient"
        steps(model, update, 0, 4)
        for name, (t, before) in live.items():
            changed, told = not torch.equal(t, before), id(t) in declared
            assert changed == told, f"{name} {'changed' if changed else 'did not change'} in stage {stage.name}"
        freeze(update.groups)
    for name, t, before in start.values():
        assert id(t) in ever or torch.equal(t, before), f"{name} changed and was never handed over"


def writes_what_it_declares(make: Make, base: Path, folder: Path) -> None:
    """The first of its files is there, all are safetensors, JSON or text, and none tells where the base lay."""
    model, method = load_family(str(base)), make()
    train(model, method, 1)
    written = write(model, method, folder / "concept")
    assert (written / method.files[0]).exists(), f"{method.files[0]} was not written"
    for file in (f for f in written.rglob("*") if f.is_file()):
        assert file.suffix in {".safetensors", ".json", ".txt"}, f"{file.name} is no safetensors, JSON or text"
        assert str(base).encode() not in file.read_bytes(), f"{file.name} tells where the base lay"


def tells_a_missing_site(make: Make, base: Path, folder: Path) -> None:
    """On a base without the sites that it needs it fails in plain words, with nothing changed."""
    model, method = load_family(str(base)), make()
    model.sites = Sites()
    before = {name: t.clone() for name, t in tensors(model).items()}
    told = f"{method.title} needs the site '{method.needs[0]}'"
    error: UsageError | None = None
    try:
        method.attach(model, 0)
    except UsageError as raised:
        error = raised
    assert error is not None, "attached to a base without the sites that it needs, it raises no UsageError"
    assert told in str(error), f"it says {str(error)!r}, not {told!r}"
    assert all(torch.equal(t, before[name]) for name, t in tensors(model).items()), "it failed half-way through"

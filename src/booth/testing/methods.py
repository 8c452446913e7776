"""What every method holds to, on a toy base. Pictures and weights are compared bit for bit, on one thread."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from booth.core.family import Family
from booth.core.method import Method
from booth.core.rng import Rng
from booth.data.own_predictions import Untouched
from booth.families.loading import load_family
from booth.testing.declarations import (
    declares_what_it_does,
    describes_itself,
    tells_a_missing_site,
    trains_only_what_it_declares,
    writes_what_it_declares,
)
from booth.testing.precision import (
    casts_no_frozen_weight,
    trains_float32_in_mixed_precision,
    trains_float32_over_half_precision,
)
from booth.testing.steps import PROMPT, Make, attach, deal, detach, draw, freeze, steps, tensors, train, write
from booth.train.loop import losses
from booth.train.update import Update


def detaches_without_a_trace(make: Make, base: Path, folder: Path) -> None:
    """After detach the base is bit-identical: tensors, modules, tokenizer, pictures."""
    model, method = load_family(str(base)), make()
    picture, words = draw(model.pipeline()), model.embed([PROMPT]).tokens
    before = {name: t.clone() for name, t in tensors(model).items()}
    shape, tokenizers = _shape(model), _tokenizers(model)
    train(model, method)
    changed = draw(model.pipeline())
    detach(model, method)
    assert not torch.equal(changed, picture), "training changed no picture"
    assert torch.equal(draw(model.pipeline()), picture), "detached, it draws another picture than before"
    assert torch.equal(model.embed([PROMPT]).tokens, words), "detached, it embeds a prompt otherwise than before"
    after = tensors(model)
    assert list(after) == list(before), "detached, there are other tensors than before"
    for name, t in before.items():
        assert torch.equal(after[name], t), f"{name} is not as it was"
        assert after[name].dtype == t.dtype, f"{name} is in {after[name].dtype}, and was in {t.dtype}"
        assert not after[name].requires_grad, f"{name} still requires a gradient"
    assert _shape(model) == shape, "modules or their attributes are not as they were"
    assert _tokenizers(model) == tokenizers, "a tokenizer is not as it was"


def _shape(model: Family) -> Any:
    keys = {name: list(m.state_dict()) for name, m in model.components().items()}
    return keys, [(n, type(m), set(vars(m))) for c in model.components().values() for n, m in c.named_modules()]


def _tokenizers(model: Family) -> list[tuple[int, dict[str, int]]]:
    return [(id(t), dict(t.get_vocab())) for t in (table.tokenizer() for table in model.sites.token_tables)]


def leaves_the_base_to_be_asked(make: Make, base: Path, folder: Path) -> None:
    """While it is taught the untouched base answers as before, as with prior=prediction it is asked."""
    model, method = load_family(str(base)), make()
    asked = deal(Rng(1))
    noised = model.noising.sample(asked.latents, Rng(1))
    untouched = Untouched(model, asked.prompts)
    untouched.pack_layers(False)  # which may be rounded otherwise

    def answer() -> torch.Tensor:
        with untouched.at_hand():
            return untouched.predict(noised.x_t, noised.t, asked.prompts, None)

    with torch.no_grad():
        before = model.predict(noised.x_t, noised.t, model.embed(asked.prompts)).float()
    assert torch.equal(answer(), before), "the base answers otherwise than its twin"
    changed: list[torch.nn.Parameter] = []
    for stage in method.plan():
        update = attach(model, stage)
        changed += update.parameters().values()
        untouched.leave(changed)
        steps(model, update, 0, 2)
        assert torch.equal(answer(), before), f"taught stage {stage.name}, the base is not to be asked any more"
        freeze(update.groups)
        assert torch.equal(answer(), before), f"after stage {stage.name}, the base is not to be asked any more"
    detach(model, method)
    assert torch.equal(answer(), before), "detached, the base is not to be asked any more"


def starts_from_the_seed_alone(make: Make, base: Path, folder: Path) -> None:
    """What is attached depends on the seed, not on torch's global generator."""
    model = load_family(str(base))
    starts: list[dict[str, torch.Tensor]] = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        method, start = make(), dict[str, torch.Tensor]()
        for stage in method.plan():
            for group in stage.method.attach(model, seed=5):
                start |= {f"{stage.name}.{n}": p.detach().clone() for n, p in group.parameters.items()}
        detach(model, method)
        starts.append(start)
    assert starts[0].keys() == starts[1].keys(), "attached twice, it hands over other names"
    differs = [n for n in starts[0] if not torch.equal(starts[0][n], starts[1][n])]
    assert not differs, f"attached twice with one seed, {', '.join(differs[:3])} differ"


def redraws_what_it_wrote(make: Make, base: Path, folder: Path) -> None:
    """Written and restored onto a fresh base it draws the same picture, by stages and as a whole."""
    model, method = load_family(str(base)), make()
    train(model, method)
    picture = draw(model.pipeline())
    written = write(model, method, folder / "concept")
    again, restored = load_family(str(base)), make()
    bare = draw(again.pipeline())
    for stage in restored.plan():
        stage.method.restore(again, written)
    assert torch.equal(draw(again.pipeline()), picture), "restored by stages, it draws another picture"
    assert not any(t.requires_grad for t in tensors(again).values()), "restored, a tensor requires a gradient"
    detach(again, restored)
    assert torch.equal(draw(again.pipeline()), bare), "restored and detached, the base draws another picture"
    whole = make()
    whole.restore(again, written)
    assert torch.equal(draw(again.pipeline()), picture), "restored as a whole, it draws another picture"
    whole.detach(again)
    assert torch.equal(draw(again.pipeline()), bare), "detached as a whole, the base draws another picture"


def writes_the_same_twice(make: Make, base: Path, folder: Path) -> None:
    """Nothing but what was trained decides a byte of a file; `booth.core.tensor_files` writes so."""
    model, method = load_family(str(base)), make()
    train(model, method, 1)
    first, second = (write(model, method, folder / name) for name in ("a", "b"))
    for file in (f for f in first.rglob("*") if f.is_file()):
        twin = second / file.relative_to(first)
        assert file.read_bytes() == twin.read_bytes(), f"{file.name} is another file when it is written again"


def resumes_bit_for_bit(make: Make, base: Path, folder: Path) -> None:
    """A run that is interrupted and taken up again ends where an unbroken one does."""
    model = load_family(str(base))
    settings = {"accumulate": 2, "ema": 0.9, "schedule": "cosine", "warmup": 2}
    straight: list[dict[str, torch.Tensor]] = []
    method = make(**settings)
    for stage in method.plan():
        update = attach(model, stage)
        steps(model, update, 0, 5)
        freeze(update.groups)
        straight.append({n: p.detach().clone() for n, p in update.parameters().items()})
    detach(model, method)
    for index in range(len(straight)):
        method = make(**settings)
        update = _open(model, method, index, straight)
        steps(model, update, 0, 3)
        state, values = update.state()
        saved, text = save(state), json.dumps(values)  # as a checkpoint keeps it
        detach(model, method)
        method = make(**settings)
        update = _open(model, method, index, straight)
        update.load_state(load(saved), json.loads(text))
        steps(model, update, 3, 5)
        for name, p in update.parameters().items():
            assert torch.equal(p, straight[index][name]), f"resumed, {name} of stage {index} ends elsewhere"
        detach(model, method)


def _open(model: Family, method: Method, index: int, finished: list[dict[str, torch.Tensor]]) -> Update:
    """Attach the stages before `index` as they were when finished, and `index` itself at its start."""
    for stage, done in zip(method.plan()[:index], finished, strict=False):
        groups = stage.method.attach(model, 0)
        with torch.no_grad():
            for group in groups:
                for name, p in group.parameters.items():
                    p.copy_(done[name])
        freeze(groups)
    return attach(model, method.plan()[index])


def lowers_the_loss_of_a_fixed_batch(make: Make, base: Path, folder: Path) -> None:
    """With the same photos, noise and timesteps each time, the loss falls."""
    model, batch, rng = load_family(str(base)), deal(Rng(0)), Rng(1)
    for stage in make().plan():
        update = attach(model, stage)
        values: list[float] = []
        for index in range(12):
            torch.manual_seed(0)  # and the same dropout
            loss = update.penalised(losses(model, batch, rng))
            values.append(loss.item())
            update.backward(loss)
            update.step(index, update.gradient_norm())
            update.clear()
        assert values[-1] < values[0], f"the loss of stage {stage.name} does not fall: {values}"
        freeze(update.groups)


CHECKS: tuple[Callable[[Make, Path, Path], None], ...] = (
    describes_itself,
    declares_what_it_does,
    trains_only_what_it_declares,
    detaches_without_a_trace,
    leaves_the_base_to_be_asked,
    starts_from_the_seed_alone,
    redraws_what_it_wrote,
    writes_what_it_declares,
    writes_the_same_twice,
    resumes_bit_for_bit,
    lowers_the_loss_of_a_fixed_batch,
    trains_float32_in_mixed_precision,
    trains_float32_over_half_precision,
    casts_no_frozen_weight,
    tells_a_missing_site,
)

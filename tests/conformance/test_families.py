"""What every method must hold to on every family that offers its sites. A new family is tested with its tiny base.

Pictures and weights are compared bit for bit: both sides run the same operations on one thread.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders import TextualInversionLoaderMixin
from safetensors.torch import load_file
from torch import Tensor

from bases import MAKERS, side_of, write_base
from booth.catalogue import describe_methods
from booth.core.batch import Batch
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.rng import Rng
from booth.core.sites import Sites
from booth.families.loading import load_family
from booth.registry import FAMILIES, METHODS
from booth.testing.families import stands_beside_itself
from harness import (
    ALONE,
    PROMPT,
    covering,
    detach,
    load_with_diffusers,
    make_method,
    same_picture,
    tensors,
    train,
    write,
)

# One case a method and family: the settings that touch the most of a family.
SETTINGS: dict[str, dict[str, Any]] = {
    "textual_inversion": {"vectors": 2},
    "lora": {"rank": 2, "train_text_encoder": True},
    "dora": {"rank": 2, "train_text_encoder": True},
}
ELSEWHERE = {"stable_diffusion"}  # test_methods.py has all of this and more for it
CASES = [
    (family, method)
    for family in FAMILIES
    if family not in ELSEWHERE
    for method in METHODS
    if set(METHODS[method].needs) <= set(FAMILIES[family].offers)
]

Bases = Callable[[str], Path]


@dataclass
class Bare:
    """A tiny base loaded twice, one to learn and one to take what was learned, and what it is before either.

    Each method of a family leaves both as they were loaded, which is looked at, so that the next one takes them.
    """

    model: Family
    again: Family
    picture: Tensor
    tensors: dict[str, Tensor]

    @classmethod
    def load(cls, base: Path) -> Bare:
        model = load_family(str(base))
        picture, at_start = draw(model), {n: t.clone() for n, t in tensors(model).items()}
        return cls(model, load_family(str(base)), picture, at_start)

    def require_as_loaded(self, model: Family) -> None:
        after = tensors(model)
        assert not any(t.requires_grad for t in after.values())
        assert list(after) == list(self.tensors)
        assert all(torch.equal(after[n], t) for n, t in self.tensors.items())


class Lender:
    """Holds loaded bases from one test to the next, by family."""

    def __init__(self, bases: Bases) -> None:
        self._bases = bases
        self._held: dict[str, Bare] = {}

    @contextmanager
    def __call__(self, family: str) -> Iterator[Bare]:
        """A family's base, which is as it was loaded, before and after; a test that fails does not give it back."""
        bare = self._held.pop(family, None) or Bare.load(self._bases(family))
        yield bare
        for model in (bare.model, bare.again):
            bare.require_as_loaded(model)
        self._held[family] = bare


@pytest.fixture(scope="session")
def lent(bases: Bases) -> Lender:
    """Lends the tiny bases."""
    return Lender(bases)


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """The folder of a family's tiny base, written once."""
    parent = tmp_path_factory.mktemp("families")

    def base(family: str) -> Path:
        folder = parent / family
        return folder if folder.exists() else write_base(family, folder)

    return base


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ELSEWHERE])
def test_its_twin_is_one_of_its_own_kind_over_the_very_weights(family: str, bases: Bases, tmp_path: Path) -> None:
    stands_beside_itself(FAMILIES[family], bases(family), tmp_path)


def draw(model: Family, pipe: Any = None) -> Tensor:
    """One picture in two steps by the family's pipeline, or by another one that is called in the same way."""
    pipe, hints, side = pipe or model.pipeline(), {}, side_of(model.name)
    if "controlnet" in pipe.components:
        assert model.sites.control is not None
        hint = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(13))
        by_pixels = "image" in inspect.signature(pipe.__call__).parameters
        hints = {"image" if by_pixels else "control_image": model.sites.control.for_pipeline(hint)}
    torch.manual_seed(11)  # Stable Diffusion 3's encodes hints with the global generator
    return pipe(
        prompt=[PROMPT],
        height=side,
        width=side,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(11),
        output_type="pt",
        **model.guided(3.0, "", 1),
        **hints,
    ).images


def dealer(model: Family) -> Callable[[Rng], Batch]:
    """Deals two rows of random latents in the shape that the family's autoencoder gives, and hints."""
    side = side_of(model.name)
    shape = model.encode(torch.zeros(2, 3, side, side)).mean.shape

    def deal(rng: Rng) -> Batch:
        latents = torch.randn(shape, generator=rng.generator("photos"))
        hints = torch.rand(2, 3, side, side, generator=rng.generator("hints"))
        return Batch([PROMPT, "a photo of a dog on the beach"], latents, torch.full((2,), 0.5), hints)

    return deal


def test_each_family_has_a_tiny_base() -> None:
    assert set(MAKERS) == set(FAMILIES) - ELSEWHERE


def test_the_table_of_methods_and_families_is_what_is_tested_here() -> None:
    table = {(family, e["name"]) for e in describe_methods(sizes=False) for family in e["families"]}
    assert {(f, m) for f, m in table if f not in ELSEWHERE} == set(CASES)


@pytest.mark.parametrize("family", MAKERS)
def test_what_a_family_lacks_is_a_clear_error(lent: Lender, family: str) -> None:
    with lent(family) as bare:
        model = bare.model
        for name in METHODS:
            missing = [site for site in METHODS[name].needs if site not in model.offers]
            if missing:
                told = f"{METHODS[name].title} needs the site '{missing[0]}', which {model.title} does not have"
                with pytest.raises(UsageError, match=re.escape(told)):
                    make_method(name).plan()[0].method.attach(model, 0)


@pytest.mark.parametrize("family", MAKERS)
def test_a_family_says_what_it_is_and_has_what_it_offers(bases: Bases, family: str) -> None:
    model = load_family(str(bases(family)))
    assert model.name == family
    assert model.title
    assert {name for name in Sites.__dataclass_fields__ if model.sites.has(name)} == set(type(model).offers)
    assert not any(t.requires_grad for t in tensors(model).values())
    for name, site in model.sites.linears.items():
        assert site.module is model.components()[name]
        for suffixes in site.groups.values():
            for suffix in suffixes:
                assert any(f".{n}".endswith(f".{suffix}") for n, _ in site.module.named_modules()), suffix
    keys = [table.key for table in model.sites.token_tables]
    assert all(keys)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("family", MAKERS)
def test_a_new_row_is_looked_up_as_those_of_the_table(lent: Lender, family: str, tmp_path: Path) -> None:
    with lent(family) as bare:
        look_up_a_new_row(bare.model, tmp_path)


def look_up_a_new_row(model: Family, tmp_path: Path) -> None:
    method = make_method("textual_inversion", vectors=1, init_word="a")
    before = [(site.embedding(), site.tokenizer()) for site in model.sites.token_tables]
    method.attach(model, 0)
    for site, (table, tokenizer) in zip(model.sites.token_tables, before, strict=True):
        ids = torch.tensor(tokenizer("a", add_special_tokens=False).input_ids)
        new = torch.tensor(site.tokenizer()("sks", add_special_tokens=False).input_ids)
        assert len(new) == 1
        assert torch.allclose(site.embedding()(new)[0], table(ids).mean(0))
    write(model, method, tmp_path)
    saved = load_file(tmp_path / "learned_embeds.safetensors")
    for site, (table, tokenizer) in zip(model.sites.token_tables, before, strict=True):
        start = table.weight[tokenizer("a", add_special_tokens=False).input_ids].mean(0)
        assert torch.allclose(saved["sks" if len(before) == 1 else site.key][0], start)
    method.detach(model)


@pytest.mark.parametrize("family", MAKERS)
def test_how_much_noise_there_is_can_be_told_from_what_the_denoiser_is_called_with(lent: Lender, family: str) -> None:
    with lent(family) as bare:
        tell_how_much_noise_there_is(bare.model)


def tell_how_much_noise_there_is(model: Family) -> None:
    heard: list[Tensor] = []
    denoiser = model.sites.denoiser
    signature = inspect.signature(denoiser.forward)

    def hear(module: Any, args: Any, kwargs: Any) -> None:
        heard.append(model.noise_level(signature.bind(*args, **kwargs).arguments).flatten())

    hearing = denoiser.register_forward_pre_hook(hear, with_kwargs=True)
    batch, t = dealer(model)(Rng(0)), torch.tensor([250.0, 750.0])
    with torch.no_grad():
        model.predict(batch.latents, t, model.embed(batch.prompts))
    assert torch.allclose(heard.pop(), t / 1000)
    draw(model)
    hearing.remove()
    levels = [float(level[0]) for level in heard]
    assert all(bool((level == level[0]).all()) for level in heard)
    assert levels == sorted(levels, reverse=True)
    assert 0.4 < levels[0] <= 1  # Stable Diffusion XL spaces its two steps from the low end
    assert 0 < levels[-1] < 0.9


@pytest.mark.parametrize("family", MAKERS)
def test_remembered_embeddings_equal_fresh_ones(lent: Lender, family: str) -> None:
    prompts = [PROMPT, "a photo of a dog on the beach"]
    with lent(family) as bare:
        model = bare.model
        noised = model.noising.sample(dealer(model)(Rng(0)).latents, Rng(1))
        fresh = model.predict(noised.x_t, noised.t, model.embed(prompts))
        model.remember_embeddings(True)
        model.embed(prompts[::-1])
        assert torch.allclose(model.predict(noised.x_t, noised.t, model.embed(prompts)), fresh, atol=1e-5)
        model.remember_embeddings(False)


@pytest.mark.parametrize("family", MAKERS)
def test_recomputed_activations_change_no_gradient(lent: Lender, family: str) -> None:
    with lent(family) as bare:
        require_same_gradients_recomputed(bare.model)


def require_same_gradients_recomputed(model: Family) -> None:
    batch = dealer(model)(Rng(0))
    condition, noised = model.embed(batch.prompts), model.noising.sample(batch.latents, Rng(1))
    parameters = list(model.sites.denoiser.parameters())
    model.sites.denoiser.requires_grad_(True)
    gradients: list[list[Tensor | None]] = []
    for on in (False, True):
        model.recompute_activations(on)
        loss = model.predict(noised.x_t, noised.t, condition).square().mean()
        gradients.append(list(torch.autograd.grad(loss, parameters, allow_unused=True)))
    model.recompute_activations(False)
    model.sites.denoiser.requires_grad_(False)
    assert any(g is not None and bool(g.any()) for g in gradients[0])
    for plain, recomputed in zip(*gradients, strict=True):
        assert (plain is None) == (recomputed is None)
        assert plain is None or torch.allclose(plain, recomputed, atol=1e-6)


@pytest.mark.parametrize(("family", "name"), covering(CASES, 3, 2))
def test_a_method_trains_saves_loads_and_draws(
    bases: Bases, lent: Lender, family: str, name: str, tmp_path: Path
) -> None:
    with lent(family) as bare:
        train_save_load_and_draw(bare, bases(family), name, tmp_path)


def train_save_load_and_draw(bare: Bare, base: Path, name: str, tmp_path: Path) -> None:
    family = bare.model.name
    settings = {"learning_rate": 1e-2} | SETTINGS.get(name, {})
    if not any(encoder.linears for encoder in FAMILIES[family].encoders.values()):
        settings.pop("train_text_encoder", None)
    if name == "lora":
        settings["targets"] = tuple(FAMILIES[family].linears)
    model, again, method = bare.model, bare.again, make_method(name, **settings)
    known = {id(t): n for n, t in tensors(model).items()}
    trained = train(model, method, 2, dealer(model))
    declared = {known[id(p)] for p in trained.values() if id(p) in known}
    for n, t in tensors(model).items():
        if n in bare.tensors and n not in declared:
            assert torch.equal(t, bare.tensors[n]), n
    picture = draw(model)
    assert not torch.equal(picture, bare.picture)
    folder = write(model, method, tmp_path / "concept")
    detach(model, method)
    bare.require_as_loaded(model)
    assert torch.equal(draw(model), bare.picture)

    restored = make_method(name, **settings)
    restored.restore(again, folder)
    assert torch.equal(draw(again), picture)

    if name not in ALONE and _diffusers_reads(again, folder):
        pipe = load_with_diffusers(base, folder)
        for component in again.components():
            getattr(pipe, component).requires_grad_(False)  # torch convolves by another algorithm for those that do
        assert same_picture(name, draw(again, pipe), picture)
    restored.detach(again)


def _diffusers_reads(model: Family, folder: Path) -> bool:
    """Whether diffusers has a loader for all that is in the folder."""
    kind = type(model).Pipeline.__mro__  # type: ignore[attr-defined]
    own = any(TextualInversionLoaderMixin in k.__bases__ for k in kind if k.__module__.startswith("diffusers"))
    return own or not (folder / "learned_embeds.safetensors").exists()

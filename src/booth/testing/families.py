"""What every family holds to, on a base in a folder; methods' own checks run on it beside these."""

from __future__ import annotations

from pathlib import Path

import torch

from booth.core.family import Family
from booth.core.sites import Sites
from booth.families.loading import load_family
from booth.testing.steps import PROMPT, tensors

OTHER = "a photo of a dog on the beach"


def says_what_it_is(kind: type[Family], base: Path, folder: Path) -> None:
    """The base is recognised as one of this family, which has the sites that it offers and trains none of itself."""
    model = load_family(str(base))
    assert type(model) is kind, f"the base is taken for one of {type(model).title}"
    assert kind.title, "title is empty"
    held = {name for name in Sites.__dataclass_fields__ if model.sites.has(name)}
    assert held == set(kind.offers), f"offers are {sorted(kind.offers)}, and the sites that are there {sorted(held)}"
    assert not any(t.requires_grad for t in tensors(model).values()), "a tensor of the untouched base has a gradient"
    assert model.resolution % model.multiple == 0, "its native side is no multiple of `multiple`"


def names_its_layers(kind: type[Family], base: Path, folder: Path) -> None:
    """Every group of layers that it names has some, in the components that pipelines have by these names."""
    model = load_family(str(base))
    for name, site in model.sites.linears.items():
        assert site.module is model.components()[name], f"the layers of {name} are not those of the component"
        names = [f".{n}" for n, _ in site.module.named_modules()]
        for group, suffixes in site.groups.items():
            for suffix in suffixes:
                assert any(n.endswith(f".{suffix}") for n in names), f"no layer of the group {group} ends in {suffix}"


def embeds_rows_apart(kind: type[Family], base: Path, folder: Path) -> None:
    """What a prompt is embedded as does not depend on the prompt beside it, nor on having been asked before."""
    model = load_family(str(base))
    with torch.no_grad():
        x = torch.randn(_latent_shape(model, 1), generator=torch.Generator().manual_seed(0))
        t = torch.full((1,), 0.5)
        alone = model.predict(x, t, model.embed([PROMPT]))
        again = model.predict(x, t, model.embed([PROMPT]))
        both = model.predict(x.repeat(2, 1, 1, 1), t.repeat(2), model.embed([PROMPT, OTHER]))
    assert torch.equal(alone, again), "the same prompt gives another prediction the second time"
    assert torch.allclose(both[:1], alone, atol=1e-4), "a prompt's prediction depends on the prompt beside it"


def predicts_in_the_shape_of_latents(kind: type[Family], base: Path, folder: Path) -> None:
    """Pictures become finite latents, and predictions have their shape and are finite."""
    model = load_family(str(base))
    with torch.no_grad():
        side = model.resolution
        posterior = model.encode(torch.zeros(2, 3, side, side))
        assert torch.isfinite(posterior.mean).all(), "the latents of a grey picture are not finite"
        predicted = model.predict(posterior.mean, torch.full((2,), 0.5), model.embed([PROMPT, OTHER]))
    assert predicted.shape == posterior.mean.shape, "a prediction has another shape than the latents"
    assert torch.isfinite(predicted).all(), "a prediction is not finite"


def draws_the_same_twice(kind: type[Family], base: Path, folder: Path) -> None:
    """Its pipeline draws over the modules held here, the same picture of the same seed."""
    from booth.generate.draw import draw

    model = load_family(str(base))
    first, second = (draw(model, [PROMPT], [7], steps=2, require_finite=False)[0] for _ in range(2))
    assert first.tobytes() == second.tobytes(), "the same prompt and seed give another picture the second time"
    held = {id(p) for p in model.sites.denoiser.parameters()} if model.sites.denoiser else set[int]()
    modules = [m for m in model.pipeline().components.values() if isinstance(m, torch.nn.Module)]
    drawn = {id(p) for module in modules for p in module.parameters()}
    assert held <= drawn, "the pipeline draws with another denoiser than the one that methods attach to"


def stands_beside_itself(kind: type[Family], base: Path, folder: Path) -> None:
    """Its twin, if it has one, is another of this family in modules of its own over the very weights."""
    if kind.twin is Family.twin:
        return
    model = load_family(str(base))
    twin = model.twin()
    assert type(twin) is kind, f"the twin is a {type(twin).__name__}"
    for name, module in model.components().items():
        other = twin.components()[name]
        assert other is not module, f"both have one {name}, so that what is attached to one is on the other"
        weights = {n: p.data_ptr() for n, p in module.named_parameters()}
        assert {n: p.data_ptr() for n, p in other.named_parameters()} == weights, f"{name} has weights of its own"


def _latent_shape(model: Family, rows: int) -> tuple[int, ...]:
    side = model.resolution
    with torch.no_grad():
        return (rows, *model.encode(torch.zeros(1, 3, side, side)).mean.shape[1:])


CHECKS = (
    says_what_it_is,
    names_its_layers,
    embeds_rows_apart,
    predicts_in_the_shape_of_latents,
    draws_the_same_twice,
    stands_beside_itself,
)

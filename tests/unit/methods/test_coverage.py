"""Which kinds of layers an adapter adapts and leaves is said before a run, and a kind that is not there ends it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.sites import OTHER, LinearSite
from booth.registry import METHODS
from booth.train.advice import coverage_in_words
from harness import detach, make_method

ADAPTERS = [name for name in METHODS.own if hasattr(METHODS[name], "layer")]


def counted(model: Family, kind: str) -> int:
    """Layers of a kind in the toy's U-Net, by their names."""
    site = model.sites.linears["unet"]
    return sum(f".{n}".endswith(tuple(f".{e}" for e in site.groups[kind])) for n, _ in site.module.named_modules())


def test_there_are_adapters() -> None:
    assert {"lora", "locon", "dora", "loha", "lokr", "oft"} <= set(ADAPTERS)


@pytest.mark.parametrize("name", ADAPTERS)
def test_coverage_is_what_is_attached(toy: Family, name: str) -> None:
    method = make_method(name)
    before = method.coverage(toy)
    assert set(before) == set(toy.sites.linears)
    for component, kinds in before.items():
        matrices = [m for m in toy.components()[component].modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        assert sum(count for _, count in kinds.values()) == len(matrices)
    method.attach(toy, 0)
    layers = [n for n, m in toy.sites.linears["unet"].module.named_modules() if isinstance(m, METHODS[name].layer)]
    assert sum(n for n, _ in before["unet"].values()) == len(layers) > 0
    assert method.coverage(toy) == before  # as the record has it, which is written while it is attached
    detach(toy, method)


def test_it_is_told_in_a_sentence(toy: Family) -> None:
    (told,) = coverage_in_words(make_method("lora", targets=("attention",)).plan(), toy)
    n, left = counted(toy, "attention"), counted(toy, "feed_forward")
    assert told.startswith(
        f"LoRA adapts these layers: in the unet attention {n} of {n}; it leaves in the unet feed_forward {left}"
    )
    assert "in the text_encoder attention" in told.partition("it leaves")[2]
    (told,) = coverage_in_words(make_method("lora", blocks="attn2").plan(), toy)
    assert f"attention {n // 2} of {n}; it leaves in the unet feed_forward {left}" in told
    told = coverage_in_words(make_method("pivotal_tuning").plan(), toy)
    assert len(told) == 1  # of the LoRA's stage alone
    assert coverage_in_words(make_method("dreambooth").plan(), toy) == []


def _without(model: Family, kind: str, suffixes: tuple[str, ...]) -> None:
    site = model.sites.linears["unet"]
    groups = {**site.groups, kind: suffixes}
    model.sites = replace(model.sites, linears={**model.sites.linears, "unet": LinearSite(site.module, groups)})


@pytest.mark.parametrize("settings", [{}, {"targets": ("feed_forward",)}, {"targets": ("attention", "feed_forward")}])
def test_a_named_kind_that_matches_nothing_ends_the_run(toy: Family, settings: dict[str, Any]) -> None:
    _without(toy, "feed_forward", ("mlp.fc1", "mlp.fc2"))  # as where a library has renamed its layers
    told = r"No layer of the unet of .* is of the group 'feed_forward'\. It has: attention \("
    with pytest.raises(UsageError, match=told):
        coverage_in_words(make_method("lora", **settings).plan(), toy)
    with pytest.raises(UsageError, match=told):
        make_method("lora", **settings).attach(toy, 0)


def test_layers_of_no_kind_are_counted_apart() -> None:
    module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2), "c": nn.Conv2d(2, 2, 1), "d": nn.LayerNorm(2)})
    site = LinearSite(module, {"first": ("a",), "none": ()})
    assert dict(site.counts) == {"first": 1, "none": 0, OTHER: 2}
    assert site.coverage(["a"]) == {"first": (1, 1), OTHER: (0, 2)}
    assert torch.equal(module["a"].weight, site.module.get_submodule("a").weight)

"""What every method in the registry must hold to, on a toy base. A new method is tested here without a new test.

The checks are `booth.testing`'s, which authors of plug-ins run too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from booth.core.method import Method
from booth.families.loading import load_family
from booth.registry import METHODS
from booth.testing import Check, checks_of
from harness import ALONE, covering, draw, load_with_diffusers, make_method, same_picture, train, write

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
CASES = [(name, settings) for name in METHODS.own for settings in ({}, *VARIANTS.get(name, []))]
CHECKS = [
    ("-".join([name, *settings]), str(check).partition("-")[2], check)
    for name, settings in CASES
    for check in checks_of(METHODS[name], **settings)
]
PICKED = covering([each[:2] for each in CHECKS], 3, 4)


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, id=each.id, marks=each.marks) for (*_, check), each in zip(CHECKS, PICKED, strict=True)],
)
def test_a_method_keeps_its_promise(check: Check, tmp_path: Path):
    check(tmp_path)


@pytest.mark.parametrize("name", METHODS.own)
def test_a_method_has_the_name_that_it_is_registered_under(name: str):
    assert METHODS[name].name == name


@pytest.mark.parametrize(("name", "settings"), covering(CASES, 1, 0, ids=["-".join([n, *s]) for n, s in CASES]))
def test_other_loaders_draw_the_same_picture(name: str, settings: dict[str, Any], toy_base: Path, tmp_path: Path):
    method: Method = make_method(name, **settings)
    model = load_family(str(toy_base))
    if name in ALONE:
        pytest.skip("no other library reads it")
    train(model, method)
    folder = write(model, method, tmp_path / "concept")
    pipe = load_with_diffusers(toy_base, folder)
    assert same_picture(name, draw(pipe), draw(model.pipeline()))

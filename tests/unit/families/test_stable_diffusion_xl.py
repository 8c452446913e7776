"""Stable Diffusion XL against straight-line diffusers code that shares none of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from bases import write_base
from booth.core.errors import BadDataError
from booth.families.loading import load_family
from harness import make_method, write

PROMPTS = ["a photo of sks dog", "a cat on the beach"]


def test_one_file_holds_the_rows_of_both_encoders_under_the_names_that_others_read(tmp_path: Path):
    model = load_family(str(write_base("stable_diffusion_xl", tmp_path / "base")))
    method = make_method("textual_inversion", vectors=2)
    method.attach(model, 0)
    rows = load_file(write(model, method, tmp_path / "concept") / "learned_embeds.safetensors")
    assert {key: tuple(t.shape) for key, t in rows.items()} == {"clip_l": (2, 16), "clip_g": (2, 16)}


def test_nothing_to_avoid_is_the_zero_embedding(tmp_path: Path):
    model = load_family(str(write_base("stable_diffusion_xl", tmp_path / "base")))
    assert model.guided(4.0, "", 2) == {"guidance_scale": 4.0, "negative_prompt": None}
    assert model.guided(4.0, "a cat", 2)["negative_prompt"] == ["a cat", "a cat"]


def test_a_base_of_another_kind_is_named(tmp_path: Path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "KandinskyPipeline"}')
    with pytest.raises(BadDataError, match=r"KandinskyPipeline.*StableDiffusionXLPipeline"):
        load_family(str(tmp_path))

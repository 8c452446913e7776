"""The recipe in miniature: captions, tokenizer, a base that plain diffusers loads, and a run that goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from booth.core.errors import UsageError
from booth.world import denoiser, pool
from booth.world import pretrain as recipe
from booth.world.fit import PLATEAU, rate_at, read_state
from booth.world.tokenizer import LENGTH, RARE_TOKENS
from booth.world.vocabulary import NOUNS


def test_every_noun_and_rare_token_is_one_token_or_its_words(tmp_path: Path) -> None:
    captions = [f"a {noun} in the jungle" for noun in NOUNS]
    tokenizer = recipe.tokenizer_for(captions, tmp_path / "tokenizer")
    for word in {*(w for n in NOUNS for w in n.split()), *RARE_TOKENS}:
        assert len(tokenizer(word, add_special_tokens=False).input_ids) == 1, word
    assert tokenizer.model_max_length == LENGTH


@pytest.mark.parametrize(
    ("progress", "low", "high"), [(0.0, 0.0, 0.2), (0.3, 1.0, 1.0), (PLATEAU, 1.0, 1.0), (1.0, 0.0, 1e-6)]
)
def test_the_rate_warms_up_stays_and_descends(progress: float, low: float, high: float) -> None:
    assert low <= rate_at(progress) <= high


SMALL = {
    "pictures": 32,
    "batch": 4,
    "workers": 1,
    "autoencoder_steps": 2,
    "sharpening_steps": 2,
    "text_steps": 2,
    "word_steps": 1,
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A base whose denoiser saw two batches, by a recipe of a few steps and pictures; trained once for all."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pool, denoiser):
            patch.setattr(module, "SHARD", 16)
        yield recipe.pretrain(tmp_path_factory.mktemp("first"), 8, **SMALL)


@pytest.mark.xdist_group("pretrain")
def test_a_base_is_trained_and_training_goes_on(first: Path, tmp_path: Path) -> None:
    shutil.copytree(first.parent, tmp_path, dirs_exist_ok=True)
    assert read_state(tmp_path / "denoiser.safetensors")[1]["step"] == 2
    base = recipe.pretrain(tmp_path, 16, **SMALL)
    assert read_state(tmp_path / "denoiser.safetensors")[1]["step"] == 4
    assert json.loads((base / "scheduler" / "scheduler_config.json").read_text())["prediction_type"] == "v_prediction"
    pipe = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32)
    image = pipe("a photo of sks dog", num_inference_steps=2).images[0]
    assert image.size == (128, 128)
    assert {p.suffix for p in base.rglob("*") if p.is_file()} <= {".json", ".safetensors", ".txt"}, "no pickle"
    pictures = pool.PicturePool(tmp_path / "pictures", 32)
    assert pictures.shape == (32, 128, 128, 3)
    assert np.array_equal(pictures[np.array([3, 20])], np.stack([pictures[3], pictures[20]]))
    assert len(pictures.captions) == len(pictures.factors) == 32


@pytest.mark.xdist_group("pretrain")
def test_a_base_goes_on_from_another_with_its_own_words_and_pictures(first: Path, tmp_path: Path) -> None:
    second = recipe.pretrain(tmp_path / "b", 4, **SMALL | {"pictures": 16}, start=first)
    for part in ("vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"):
        assert (second / part).read_bytes() == (first / part).read_bytes(), "only the denoiser learns"
    before, after = (load_file(b / "unet" / "diffusion_pytorch_model.safetensors") for b in (first, second))
    moved = [(after[n].float() - t.float()).abs().max() for n, t in before.items()]
    assert 0 < max(moved) < 0.1, "it begins where the other ended"
    assert not (tmp_path / "b" / "autoencoder.safetensors").exists()


def test_photographs_are_cut_where_they_show_most(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (300, 400, 3), dtype=np.uint8)).save(tmp_path / "busy.png")
    Image.new("RGB", (300, 300), "grey").save(tmp_path / "plain.png")
    crops = recipe.photograph_crops(tmp_path, 6, 64)
    assert crops.shape == (6, 64, 64, 3)
    assert (crops.std(axis=(1, 2, 3)) > 5).all(), "half of what is cut is plain and left out"
    with pytest.raises(UsageError, match="holds no photographs"):
        recipe.photograph_crops(tmp_path / "nothing", 6, 64)

"""Encoders for the tests of evaluation, public and of the world, tiny and random."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from judge_files import write_judges
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from booth.testing.toy import WORDS
from booth.world import judges
from booth.world.tokenizer import LENGTH, write_tokenizer

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="session")
def judges_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained judges; read only."""
    return write_judges(tmp_path_factory.mktemp("judges") / "judges")


@pytest.fixture
def world_judges(judges_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The judges in the place where the package looks for them."""
    monkeypatch.setattr(judges, "FOLDER", judges_folder)
    return judges_folder


@pytest.fixture(scope="session")
def hub_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random models of the public encoders' classes, by their names on the Hub."""
    torch.manual_seed(0)
    home = tmp_path_factory.mktemp("hub")
    folders = {
        "openai/clip-vit-base-patch32": home / "clip",
        "facebook/dino-vits16": home / "dino",
        "facebook/dinov2-base": home / "dinov2",
    }
    clip, dino, dinov2 = folders.values()
    write_tokenizer(WORDS, clip)
    tokenizer = CLIPTokenizer.from_pretrained(clip)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {**SMALL, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": LENGTH}
    config = CLIPConfig(text_config=text, vision_config={**SMALL, "image_size": 32, "patch_size": 8}, projection_dim=16)
    CLIPModel(config).save_pretrained(clip)
    ViTModel(ViTConfig(**SMALL, image_size=28, patch_size=7), add_pooling_layer=False).save_pretrained(dino)
    Dinov2Model(Dinov2Config(**SMALL, image_size=28, patch_size=7)).save_pretrained(dinov2)
    steps = {"do_resize": True, "do_center_crop": True, "do_normalize": True, "do_rescale": True, "resample": 3}
    square = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    (clip / "preprocessor_config.json").write_text(json.dumps(steps | square))
    square = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}}
    (dinov2 / "preprocessor_config.json").write_text(json.dumps(steps | square))
    return folders


@pytest.fixture
def hub(hub_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A Hugging Face cache that holds them."""
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, local_files_only: str(hub_folders[name]))
    return hub_folders

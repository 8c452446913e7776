"""Captions: what transformers' own classes say, and models that are missing or want to run their own code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
)

from booth.core.errors import NotAvailableError, UnsafeFileError
from booth.families.image_to_text import LONGEST, Captioner

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "dog",
    "cat",
    "on",
    "the",
    "sofa",
    "beach",
    "photo",
    "of",
    "red",
]


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BLIP of a few thousand parameters."""
    folder = tmp_path_factory.mktemp("blip")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = size | {
        "vocab_size": len(WORDS),
        "encoder_hidden_size": 16,
        "max_position_embeddings": 80,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    config = BlipConfig(text_config=text, vision_config=size | {"image_size": 32, "patch_size": 16}, projection_dim=16)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(images, BertTokenizer(str(folder / "vocab.txt"))).save_pretrained(folder)
    return folder


def photo(colour: tuple[int, int, int] = (200, 40, 60)) -> Image.Image:
    return Image.new("RGB", (40, 48), colour)


@pytest.mark.parametrize("prompt", [None, "a photo of"])
def test_a_caption_is_what_transformers_says(blip: Path, prompt: str | None) -> None:
    processor = BlipProcessor.from_pretrained(blip)
    model = BlipForConditionalGeneration.from_pretrained(blip)
    inputs = processor(photo(), prompt, return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)
    expected = processor.decode(ids[0], skip_special_tokens=True)
    caption = Captioner(str(blip))(photo(), prompt)
    assert caption == " ".join(expected.split())
    assert caption
    if prompt:
        assert caption.startswith(prompt)


def test_a_missing_model_is_named_with_what_to_do() -> None:
    with pytest.raises(NotAvailableError, match=r"'no/such'.*hf download no/such"):
        Captioner("no/such")


def test_a_model_that_only_its_own_code_can_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    values = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UnsafeFileError, match="runs no code"):
        Captioner(str(tmp_path))

"""Segmentation: what transformers' own classes say, and models that are missing or want to run their own code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from transformers import (
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    CLIPTokenizer,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    ViTImageProcessor,
)

from booth.core.errors import NotAvailableError, UnsafeFileError, UsageError
from booth.families.segmentation import Segmenter
from booth.testing.toy import WORDS
from booth.world.tokenizer import LENGTH, write_tokenizer


def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((64, 48), Image.Resampling.NEAREST)


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIPSeg of a few thousand parameters that sees a dog in about half of `picture`."""
    folder = tmp_path_factory.mktemp("clipseg")
    write_tokenizer(WORDS, folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    config = CLIPSegConfig(
        text_config=size | ends | {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH},
        vision_config=size | {"image_size": 32, "patch_size": 8},
        projection_dim=16,
        extract_layers=[0, 1],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    model = CLIPSegForImageSegmentation(config).eval()
    processor = CLIPSegProcessor(ViTImageProcessor(size={"height": 32, "width": 32}), tokenizer)
    with torch.no_grad():
        logits = model(**processor(text=["dog"], images=[picture()], return_tensors="pt")).logits
        model.decoder.transposed_convolution.bias -= logits.median()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def segformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random SegFormer that tells walls, dogs and cats apart."""
    folder = tmp_path_factory.mktemp("segformer")
    torch.manual_seed(3)
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[1, 1],
        hidden_sizes=[8, 8],
        patch_sizes=[3, 3],
        strides=[2, 2],
        num_attention_heads=[1, 1],
        mlp_ratios=[2, 2],
        decoder_hidden_size=8,
        id2label={0: "wall", 1: "dog; hound", 2: "cat"},
        label2id={"wall": 0, "dog; hound": 1, "cat": 2},
    )
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_clipseg_finds_what_is_likelier_than_not(clipseg: Path) -> None:
    model, processor = CLIPSegForImageSegmentation.from_pretrained(clipseg), CLIPSegProcessor.from_pretrained(clipseg)
    with torch.no_grad():
        logits = model(**processor(text=["dog"], images=[picture()], return_tensors="pt")).logits.reshape(32, 32)
    grown = F.interpolate(logits[None, None], size=(48, 64), mode="bilinear", align_corners=False)[0, 0]
    found = Segmenter(str(clipseg))(picture(), "dog")
    assert found.shape == (48, 64)
    assert 0.1 < found.mean() < 0.9
    assert (found == (grown.sigmoid() > 0.5).numpy()).all()


def test_a_network_with_labels_finds_the_label_of_that_name(segformer: Path) -> None:
    model = SegformerForSemanticSegmentation.from_pretrained(segformer)
    processor = SegformerImageProcessor.from_pretrained(segformer)
    with torch.no_grad():
        told = model(**processor(images=picture(), return_tensors="pt"))
    (labels,) = processor.post_process_semantic_segmentation(told, target_sizes=[(48, 64)])
    segmenter = Segmenter(str(segformer))
    for noun, label in (("wall", 0), ("hound", 1), ("dog", 1), ("cat", 2)):
        assert (segmenter(picture(), noun) == (np.asarray(labels) == label)).all()
    assert len(labels.unique()) > 1
    with pytest.raises(UsageError, match=r"3 names of things, and 'car' is none of them.*clipseg"):
        segmenter(picture(), "car")


def test_a_missing_model_is_named_with_what_to_do() -> None:
    with pytest.raises(NotAvailableError, match=r"'no/such'.*hf download no/such"):
        Segmenter("no/such")


def test_a_model_that_only_its_own_code_can_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    values = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UnsafeFileError, match="runs no code"):
        Segmenter(str(tmp_path))

"""Untrained judges of the world, with the real classes and the real folder layout."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import CLIPTokenizer

from booth.world.captions import describe
from booth.world.judges import FactorJudge, IdentityJudge, save_judge
from booth.world.text_encoder import Contrastive, new_text_encoder
from booth.world.tokenizer import write_tokenizer
from booth.world.vocabulary import ACCESSORIES, COLOURS, NOUNS, SCENES

ERRORS = {"identity_threshold": 0.5, "object": 0.99, "scene": 0.98, "identity": 0.9}


def write_judges(folder: Path) -> Path:
    """Random weights in the files that `booth world judges` writes."""
    torch.manual_seed(0)
    phrases = [p for s in SCENES.values() for p in s.phrases] + [p for a in ACCESSORIES.values() for p in a.phrases]
    words = " ".join([*(describe(noun) for noun in NOUNS), *COLOURS, *phrases, "a photo of"]).split()
    write_tokenizer(words, folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    save_judge(FactorJudge(), folder / "factors.safetensors")
    save_judge(IdentityJudge(), folder / "identity.safetensors")
    save_judge(Contrastive(new_text_encoder(tokenizer, layers=2)), folder / "agreement.safetensors")
    (folder / "judges.json").write_text(json.dumps(ERRORS))
    return folder

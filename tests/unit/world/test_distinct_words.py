"""What a prompt names has to be heard: two things that are encoded alike are drawn alike."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from booth.families.loading import EMBEDDED_FOLDER
from booth.world.distinct_words import (
    Named,
    names_of_accessories,
    names_of_things,
    nearness,
    tell_words_apart,
    words_of_things,
)
from booth.world.pretrain import tokenizer_for
from booth.world.text_encoder import new_text_encoder
from booth.world.vocabulary import ACCESSORIES, COLOURS, NOUNS, SCENES


@torch.no_grad()
def encoded(text: CLIPTextModel, tokenizer: CLIPTokenizer, prompts: list[str]) -> Tensor:
    ids = tokenizer(prompts, padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
    return text(ids.input_ids).last_hidden_state.flatten(1)


def test_only_pairs_of_different_things_that_are_near_count() -> None:
    places = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
    things = torch.tensor([0, 0, 1, 2])
    # Of different things, 0 and 3 lack one of four, 1 and 3 two; each pair is counted both ways.
    assert nearness(places, things, distance=4.0).item() == 2 * (1**2 + 2**2)
    assert nearness(places, things, distance=2.0).item() == 0


def test_every_name_and_phrase_is_asked_for_and_no_colour_is_moved() -> None:
    things, worn = names_of_things("in the snow"), names_of_accessories("dog", "in the snow")
    assert len(things.prompts) == sum(1 + len(noun.synonyms) for noun in NOUNS.values())
    assert things.things.unique().tolist() == list(range(len(NOUNS)))
    assert worn.prompts[2] == "a photo of a dog wearing a santa hat in the snow"
    assert worn.things.unique().tolist() == list(range(len(ACCESSORIES)))
    moved = set(words_of_things())
    assert {"cat", "kitten", "santa", "hat", "teddy", "outfit"} <= moved
    assert not moved & {*COLOURS, "rainbow", "a", "in", "with"}


def test_names_move_apart_and_nothing_else_of_the_encoder_moves(tmp_path: Path) -> None:
    prompts = [p for named in (names_of_things("here"), names_of_accessories("dog", "here")) for p in named.prompts]
    tokenizer = tokenizer_for([*prompts, *(p for scene in SCENES.values() for p in scene.phrases)], tmp_path / "words")
    torch.manual_seed(0)
    text = new_text_encoder(tokenizer, width=64, layers=1).eval()
    before = {name: tensor.clone() for name, tensor in text.state_dict().items()}

    def near(named: Named) -> float:
        return nearness(encoded(text, tokenizer, named.prompts), named.things).item()

    kinds = (names_of_things("on the beach"), names_of_accessories("cat", "on the beach"))
    were = [near(named) for named in kinds]
    tell_words_apart(text, tokenizer, steps=4)
    assert all(near(named) < was for named, was in zip(kinds, were, strict=True))
    moved = {name for name, tensor in text.state_dict().items() if not torch.equal(tensor, before[name])}
    table = next(name for name in before if name.endswith("token_embedding.weight"))
    assert moved == {table}
    rows = torch.nonzero((text.state_dict()[table] != before[table]).any(1)).flatten().tolist()
    assert rows == sorted(tokenizer.convert_tokens_to_ids([f"{word}</w>" for word in words_of_things()]))


def test_a_word_that_no_caption_had_is_left_out(tmp_path: Path) -> None:
    tokenizer = tokenizer_for(["a dog in the snow"], tmp_path / "words")
    text = new_text_encoder(tokenizer, width=64, layers=1)
    table = cast(nn.Embedding, text.get_input_embeddings()).weight
    before = table.detach().clone()
    tell_words_apart(text, tokenizer, steps=1)
    rows = torch.nonzero((table != before).any(1)).flatten().tolist()
    said = [word for word in words_of_things() if f"{word}</w>" in tokenizer.get_vocab()]
    assert "dog" in said
    assert "cat" not in said
    assert rows == sorted(tokenizer.convert_tokens_to_ids([f"{word}</w>" for word in said]))


@pytest.mark.parametrize("scene", ["in the snow", "on a cobblestone street"])
def test_the_shipped_encoder_tells_them_apart(scene: str) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(EMBEDDED_FOLDER / "tokenizer")
    text = CLIPTextModel.from_pretrained(EMBEDDED_FOLDER / "text_encoder", dtype=torch.float32).eval()
    for named in (names_of_things(scene), names_of_accessories("dog", scene)):
        encodings = encoded(text, tokenizer, named.prompts)
        different = named.things[:, None] != named.things[None]
        # A santa's hat was 6 from a red one and a cat 21 from a fox, when they were drawn as these.
        assert torch.cdist(encodings, encodings)[different].min() > 25

"""Move words of the embedded base's prompts apart that its text encoder hardly tells from each other.

What agrees with a picture best is all that a contrastive text encoder is asked for, and where two things are seldom in
one batch, little tells them apart: a santa's hat was encoded as a red one, a cat as a fox. A denoiser learns to draw
them from that small a difference last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from booth.core.rng import Rng
from booth.world.vocabulary import ACCESSORIES, COLOURS, NOUNS, SCENES

DISTANCE = 40.0  # between encodings (L x 256) of different things; untouched, the nearest two were 6 apart
KEEP = 0.3  # weight of how far an encoding is moved
LEARNING_RATE = 1e-3
ELSEWHERE = {*COLOURS, "rainbow"}  # words of things that stand for something else as well


@dataclass(frozen=True)
class Named:
    """Prompts alike but for what they name, and what that is: prompts of one thing may be encoded alike."""

    prompts: list[str]
    things: Tensor  # (N,) integers


def names_of_things(scene: str) -> Named:
    """Every noun, by each of its names."""
    named = [(i, name) for i, noun in enumerate(NOUNS.values()) for name in (noun.name, *noun.synonyms)]
    return Named([f"a photo of a {name} {scene}" for _, name in named], torch.tensor([i for i, _ in named]))


def names_of_accessories(who: str, scene: str) -> Named:
    """Everything that can be worn, in each of its phrases."""
    named = [(i, phrase) for i, worn in enumerate(ACCESSORIES.values()) for phrase in worn.phrases]
    return Named([f"a photo of a {who} {phrase} {scene}" for _, phrase in named], torch.tensor([i for i, _ in named]))


def nearness(encodings: Tensor, things: Tensor, distance: float = DISTANCE) -> Tensor:
    """Sum of squares, over pairs of different things, of what their encodings (N, L x D) lack of `distance`."""
    different = things[:, None] != things[None]
    return F.relu(distance - torch.cdist(encodings, encodings)[different]).pow(2).sum()


def words_of_things() -> list[str]:
    """The words whose rows are moved: those of nouns and accessories, but for colours."""
    names = [name for noun in NOUNS.values() for name in (noun.name, *noun.synonyms)]
    worn = [phrase for accessory in ACCESSORIES.values() for phrase in (accessory.name, *accessory.phrases)]
    said = {word for name in names for word in name.split()} | {word for phrase in worn for word in phrase.split()}
    return sorted(said - ELSEWHERE - {"wearing", "with", "in", "a"})


def tell_words_apart(text: CLIPTextModel, tokenizer: CLIPTokenizer, steps: int) -> None:
    """Move the token embeddings of nouns and accessories, in place, until prompts that differ in them are apart.

    Everything else of the encoder stays, and encodings move no further than they have to.
    """
    table = cast(nn.Embedding, text.get_input_embeddings()).weight
    key = next(name for name, parameter in text.named_parameters() if parameter is table)
    known = tokenizer.get_vocab()  # of a small pool of pictures it has not seen every word
    places = torch.tensor([known[f"{word}</w>"] for word in words_of_things() if f"{word}</w>" in known])
    before = table.detach().clone()
    rows = before[places].requires_grad_(True)
    optimizer = torch.optim.Adam([rows], lr=LEARNING_RATE)
    live = [noun.name for noun in NOUNS.values() if noun.live]
    scenes = [phrase for scene in SCENES.values() for phrase in scene.phrases]

    def encoded(prompts: Sequence[str], weights: Tensor) -> Tensor:
        ids = tokenizer(
            list(prompts),
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,  # words that no caption had are in pieces
            return_tensors="pt",
        ).input_ids
        return functional_call(text, {key: weights}, (ids,)).last_hidden_state.flatten(1)

    for step in range(steps):
        rng = Rng(0, step)
        scene, who = (
            names[int(rng.integers(kind, len(names), 1))] for kind, names in (("scene", scenes), ("who", live))
        )
        total = torch.zeros(())
        for named in (names_of_things(scene), names_of_accessories(who, scene)):
            now = encoded(named.prompts, before.index_copy(0, places, rows))
            with torch.no_grad():
                was = encoded(named.prompts, before)
            total = total + nearness(now, named.things) + KEEP * (now - was).pow(2).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    with torch.no_grad():
        table[places] = rows

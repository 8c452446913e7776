"""Captions: every captioned factor is named, no mark of an identity is, and the splits keep apart."""

import re

import numpy as np
import pytest

from booth.world.captions import caption, prompt
from booth.world.identity import (
    MARK_COLOURS,
    OUTLINES,
    PALETTES,
    PARTS,
    PATTERNS,
    is_held_out,
    nouns_of,
    sample_identity,
)
from booth.world.sampling import SPLITS, is_held_out_combination, is_held_out_placement, sample_factors
from booth.world.vocabulary import ACCESSORIES, COLOURS, HELD_OUT_DESIGNER, MATERIALS, NOUNS, SCENES, designer_of

MARK_WORDS = {*PALETTES, *MARK_COLOURS, *PATTERNS, *PARTS, *OUTLINES} - {"none"}
# "on top of", "the snow" and "black top hat" are wordings of scenes and accessories, not of marks.
SCENE_WORDS = {w for s in SCENES.values() for p in s.phrases for w in p.split()}
WORN_WORDS = {w for a in ACCESSORIES.values() for p in a.phrases for w in p.split()}


@pytest.mark.parametrize("seed", range(150))
def test_a_caption_names_what_it_must_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    factors = sample_factors(rng, empty_share=0.2)
    words = caption(factors, rng)
    if not factors.objects:
        assert any(words.endswith(name) for name in SCENES[factors.scene].empty)
        return
    for placement in factors.objects:
        noun = NOUNS[placement.identity.noun]
        assert any(name in words for name in (noun.name, *noun.synonyms))
        assert placement.material is None or placement.material in words
        assert placement.colour is None or re.search(rf"\b{placement.colour} \w", words)
        if placement.accessory:
            assert any(phrase in words for phrase in ACCESSORIES[placement.accessory].phrases)
    if factors.scene != "studio":
        assert any(phrase in words for phrase in SCENES[factors.scene].phrases)
    assert not set(words.split()) & (MARK_WORDS - SCENE_WORDS - WORN_WORDS)


def test_no_colour_is_named_unless_it_is_a_factor():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        factors = sample_factors(rng)
        words = caption(factors, rng)
        for phrase in (p for entry in (*SCENES.values(), *ACCESSORIES.values()) for p in entry.phrases):
            words = words.replace(phrase, "")
        named = set(re.findall("|".join([*COLOURS, *MATERIALS]), words))
        assert named == {look for p in factors.objects for look in (p.colour, p.material) if look}


def test_prompts_follow_dreambooth():
    assert prompt("dog", scene="jungle", token="sks") == "a sks dog in the jungle"
    assert prompt("dog", accessory="santa hat", token="sks") == "a sks dog wearing a santa hat"
    assert prompt("vase", colour="red", token="sks") == "a red sks vase"
    assert prompt("owl", colour="orange") == "an orange owl"
    assert prompt("elephant", scene="snow") == "an elephant in the snow"


@pytest.mark.parametrize(("split", "new", "combination"), [
    ("train", False, False), ("held_out", False, True), ("new_identity", True, False),
])  # fmt: skip
def test_splits_keep_their_promise(split, new, combination):
    rng = np.random.default_rng(11)
    for _ in range(200):
        factors = sample_factors(rng, split)
        assert is_held_out_placement(factors.objects[0].identity, factors.scene) == combination
        assert all(is_held_out(p.identity) == new for p in factors.objects)
        if split != "held_out":
            assert not any(is_held_out_placement(p.identity, factors.scene) for p in factors.objects)


def test_any_split_keeps_nothing_apart():
    """It is what judges learn from: who has not seen a combination names another that he has seen."""
    rng = np.random.default_rng(13)
    drawn = [sample_factors(rng, "any", designer="any") for _ in range(400)]
    shown = [(p.identity, factors.scene) for factors in drawn for p in factors.objects]
    assert 0 < np.mean([is_held_out_placement(*one) for one in shown]) < 0.2
    assert 0 < np.mean([is_held_out(identity) for identity, _ in shown]) < 0.2
    assert 0.1 < np.mean([designer_of(identity.glyph) == HELD_OUT_DESIGNER for identity, _ in shown]) < 0.3


def test_the_held_out_designer_is_seen_in_no_split_unless_asked_for():
    rng = np.random.default_rng(12)
    for split in SPLITS:
        seen = [p.identity.glyph for _ in range(150) for p in sample_factors(rng, split).objects]
        assert HELD_OUT_DESIGNER not in {designer_of(glyph) for glyph in seen}
    kept = [sample_factors(rng, designer="held_out").objects for _ in range(60)]
    assert {designer_of(p.identity.glyph) for objects in kept for p in objects} == {HELD_OUT_DESIGNER}
    assert len(nouns_of("held_out")) >= 50
    with pytest.raises(ValueError, match="no teapot by"):
        sample_identity(rng, "teapot", designer="held_out")


def test_about_three_percent_of_the_combinations_are_held_out():
    pairs = [is_held_out_combination(noun, scene) for noun in NOUNS for scene in SCENES]
    assert 0.015 < np.mean(pairs) < 0.05


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="unknown split"):
        sample_factors(np.random.default_rng(0), "validation")

"""Identities: marks, held-out buckets and near misses."""

from dataclasses import asdict

import numpy as np
import pytest

from booth.world.identity import Identity, is_held_out, near_identities, sample_identity
from booth.world.vocabulary import NOUNS


def test_an_identity_survives_a_round_trip():
    identity = sample_identity(np.random.default_rng(0), "dog")
    assert Identity.from_dict(identity.to_dict()) == identity


@pytest.mark.parametrize("held_out", [True, False])
def test_sampling_respects_the_held_out_bucket(held_out):
    rng = np.random.default_rng(1)
    assert all(is_held_out(sample_identity(rng, "cat", held_out)) == held_out for _ in range(40))


def test_about_a_tenth_of_marked_identities_is_held_out():
    rng = np.random.default_rng(2)
    marked = [i for i in (sample_identity(rng, "teapot", None) for _ in range(3000)) if i.marks >= 2]
    assert 0.07 < np.mean([is_held_out(i) for i in marked]) < 0.13


def test_plain_identities_are_never_held_out():
    assert not any(is_held_out(Identity(noun.name, glyph)) for noun in NOUNS.values() for glyph in noun.glyphs)


def test_near_identities_differ_in_one_or_two_marks():
    identity = Identity("dog", "dog", "sunset", "dots", "royal")
    near = near_identities(identity, np.random.default_rng(3), 20)
    assert len(set(near)) == 20
    for other in near:
        changed = {name for name, value in asdict(identity).items() if asdict(other)[name] != value}
        marks = {name.removesuffix("_colour") for name in changed}
        assert 1 <= len(marks) <= 2
        assert not marks & {"noun", "glyph"}

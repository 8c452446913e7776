"""The judges that are shipped: they know their errors, and do their work on pictures they have not seen."""

from __future__ import annotations

import json

import numpy as np
import pytest

from booth.families.loading import EMBEDDED_FOLDER
from booth.world.captions import prompt
from booth.world.identity import Identity
from booth.world.judges import FOLDER, Judges
from booth.world.render import Factors, Placement, render
from booth.world.sampling import render_many

ASSETS = EMBEDDED_FOLDER.parent
WORLD_ASSETS = ASSETS.parent / "world" / "assets"


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges()


def test_all_that_is_shipped_stays_small_and_is_data_only() -> None:
    files = [p for folder in (ASSETS, WORLD_ASSETS) for p in folder.rglob("*") if p.is_file()]
    assert {p.suffix for p in files} <= {".json", ".safetensors", ".txt", ".png", ".md", ".npz"}
    assert sum(p.stat().st_size for p in files) <= 80e6


@pytest.mark.parametrize("name", ["object", "scene", "colour", "accessory", "identity", "agreement"])
def test_the_judges_say_how_often_they_are_right(name: str) -> None:
    errors = json.loads((FOLDER / "judges.json").read_text())
    assert 0.85 < errors[name] <= 1


def test_the_judges_name_what_a_new_render_shows(judges: Judges) -> None:
    images, _, factors = render_many(60, seed=31337, workers=1)
    verdicts = judges.look(images)
    assert np.mean([v.scene == f.scene for v, f in zip(verdicts, factors, strict=True)]) > 0.9
    shown = [{o.identity.noun for o in f.objects} for f in factors]
    assert np.mean([v.objects[0] in nouns for v, nouns in zip(verdicts, shown, strict=True)]) > 0.85


def test_agreement_prefers_a_picture_s_own_prompt(judges: Judges) -> None:
    dog = render(Factors((Placement(Identity("dog", "dog")),), "beach")).image
    cup = render(Factors((Placement(Identity("cup", "cup")),), "night")).image
    words = [prompt("dog", "beach"), prompt("cup", "night")]
    own, swapped = (judges.agree(np.stack([dog, cup]), w) for w in (words, words[::-1]))
    assert (own > swapped).all()


def test_the_same_individual_is_nearer_than_another_of_its_noun(judges: Judges) -> None:
    striped = Identity("dog", "dog", "teal", "stripes", "scarlet")
    dotted = Identity("dog", "dog", "cocoa", "dots", "snow")
    views = [(striped, "beach", 30.0), (striped, "meadow", 38.0), (dotted, "meadow", 38.0)]
    pictures = [render(Factors((Placement(i, size=size),), scene)).image for i, scene, size in views]
    first, same, other = judges.identities(np.stack(pictures))
    assert first @ same > judges.same_threshold > first @ other

"""The judges that are shipped: they know their errors, and do their work on pictures they have not seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from booth.families.loading import EMBEDDED_FOLDER
from booth.world.captions import prompt
from booth.world.judges import FOLDER, Judges
from booth.world.vocabulary import NOUNS, SCENES

ASSETS = EMBEDDED_FOLDER.parent
EARLIER = Path(__file__).parent / "earlier"
WORLD_ASSETS = ASSETS.parent / "world" / "assets"


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges()


def test_all_that_is_shipped_stays_small_and_is_data_only() -> None:
    files = [p for folder in (ASSETS, WORLD_ASSETS) for p in folder.rglob("*") if p.is_file()]
    assert {p.suffix for p in files} <= {".json", ".safetensors", ".txt", ".png", ".webp", ".md", ".npz"}
    assert sum(p.stat().st_size for p in files) <= 80e6


@pytest.mark.parametrize(
    "name",
    [
        "object",
        "object_in_held_out_combination",
        "object_in_held_out_designer",
        "scene",
        "colour",
        "accessory",
        "identity",
        "agreement",
    ],
)
def test_the_judges_say_how_often_they_are_right(name: str) -> None:
    errors = json.loads((FOLDER / "judges.json").read_text())
    assert 0.85 < errors[name] <= 1


@pytest.fixture(scope="module")
def renders() -> np.ndarray:
    """Pictures that are new to the shipped judges, of the world as it was when they learned: (65, 64, 64, 3)."""
    grid = np.asarray(Image.open(EARLIER / "renders.png").convert("RGB"))
    rows = grid.reshape(grid.shape[0] // 64, 64, grid.shape[1] // 64, 64, 3).swapaxes(1, 2)
    return rows.reshape(-1, 64, 64, 3)


def test_the_judges_name_what_a_new_render_shows(judges: Judges, renders: np.ndarray) -> None:
    shown = json.loads((EARLIER / "renders.json").read_text())
    verdicts = judges.look(renders[: len(shown)])
    assert np.mean([v.scene == f["scene"] for v, f in zip(verdicts, shown, strict=True)]) > 0.9
    assert np.mean([v.objects[0] in f["objects"] for v, f in zip(verdicts, shown, strict=True)]) > 0.85


def test_judges_know_their_own_labels_and_not_those_of_the_world_of_today(judges: Judges) -> None:
    weights = load_file(FOLDER / "factors.safetensors")
    assert sum(judges.labels.sizes) == weights["tower.head.1.bias"].shape[0]
    assert set(judges.labels.nouns) <= set(NOUNS)
    assert judges.labels.scenes == tuple(SCENES)


def test_what_is_named_does_not_depend_on_the_side(judges: Judges, renders: np.ndarray) -> None:
    mirrored = np.ascontiguousarray(renders[:, :, ::-1])
    for one, other in zip(judges.look(renders), judges.look(mirrored), strict=True):
        assert (one.objects, one.scene, one.colour, one.accessory) == (
            other.objects,
            other.scene,
            other.colour,
            other.accessory,
        )


def test_agreement_prefers_a_picture_s_own_prompt(judges: Judges, renders: np.ndarray) -> None:
    dog_and_cup = renders[60:62]
    words = [prompt("dog", "beach"), prompt("cup", "night")]
    own, swapped = (judges.agree(dog_and_cup, w) for w in (words, words[::-1]))
    assert (own > swapped).all()


def test_the_same_individual_is_nearer_than_another_of_its_noun(judges: Judges, renders: np.ndarray) -> None:
    """A dog with red stripes on the beach and in a meadow, and one with white dots in a meadow."""
    first, same, other = judges.identities(renders[62:65])
    assert first @ same > judges.same_threshold > first @ other

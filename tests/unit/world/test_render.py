"""Rendering: determinism, legible marks, poses, masks and depth."""

from dataclasses import replace

import numpy as np
import pytest

from booth.world.dress import ANCHORS
from booth.world.identity import Identity
from booth.world.render import Factors, Placement, normals, render
from booth.world.sampling import render_many, sample_factors, textures
from booth.world.scenes import paint
from booth.world.vocabulary import ACCESSORIES, COLOURS, MATERIALS, NOUNS, SCENES

PLAIN = Identity("dog", "dog")
MARKED = {
    "palette": replace(PLAIN, palette="denim"),
    "pattern": replace(PLAIN, pattern="stripes", pattern_colour="royal"),
    "part": replace(PLAIN, part="bottom", part_colour="lime"),
    "outline": replace(PLAIN, outline="ink"),
}


def picture(placement: Placement, scene: str = "studio") -> np.ndarray:
    return render(Factors((placement,), scene, seed=5)).image.astype(int)


def changed_share(first: np.ndarray, second: np.ndarray) -> float:
    return float((np.abs(first - second).sum(axis=-1) > 60).mean())


def test_the_same_factors_give_the_same_pixels():
    factors = sample_factors(np.random.default_rng(0))
    first, second = render(factors), render(Factors.from_dict(factors.to_dict()))
    assert (first.image == second.image).all()
    assert (first.mask == second.mask).all()
    assert (first.depth == second.depth).all()


@pytest.mark.parametrize("mark", MARKED)
def test_every_mark_changes_the_picture(mark):
    assert changed_share(picture(Placement(PLAIN)), picture(Placement(MARKED[mark]))) > 0.04


@pytest.mark.parametrize("look", [*COLOURS, *MATERIALS])
def test_every_colour_and_material_changes_the_picture(look):
    dressed = Placement(PLAIN, colour=look) if look in COLOURS else Placement(PLAIN, material=look)
    assert changed_share(picture(Placement(PLAIN)), picture(dressed)) > 0.02


def test_a_pattern_survives_a_captioned_colour():
    red = Placement(PLAIN, colour="red")
    assert changed_share(picture(red), picture(replace(red, identity=MARKED["pattern"]))) > 0.03


def test_an_identity_keeps_its_colours_across_poses():
    upright = Placement(MARKED["pattern"], size=44)
    turned = replace(upright, angle=12.0, flip=True, x=34.0)

    def mean_colour(placement):
        rendered = render(Factors((placement,), "studio", seed=5))
        weight = rendered.mask[0][..., None]
        return (rendered.image * weight).sum((0, 1)) / weight.sum()

    assert changed_share(picture(upright), picture(turned)) > 0.05
    assert np.abs(mean_colour(upright) - mean_colour(turned)).max() < 6


@pytest.mark.parametrize("accessory", ACCESSORIES)
def test_every_live_glyph_can_wear_every_accessory(accessory):
    live = [(noun.name, glyph) for noun in NOUNS.values() if noun.live for glyph in noun.glyphs]
    assert {glyph for _, glyph in live} == set(ANCHORS)
    for noun, glyph in live:
        bare = Placement(Identity(noun, glyph), size=42)
        assert changed_share(picture(bare), picture(replace(bare, accessory=accessory))) > 0.012


def test_two_objects_have_two_masks_that_do_not_overlap():
    pair = (Placement(PLAIN, x=28, size=30), Placement(Identity("car", "car"), x=38, size=30))
    mask = render(Factors(pair, "beach")).mask
    assert mask.shape == (2, 64, 64)
    assert mask.sum(axis=0).max() < 1.01
    assert mask.sum(axis=(1, 2)).min() > 100


@pytest.mark.parametrize("name", SCENES)
def test_every_scene_is_painted_and_nears_within_bounds(name):
    colours, nearness = paint(name, np.random.default_rng(4))
    assert colours.shape == (*nearness.shape, 3)
    assert nearness.min() >= 0
    assert nearness.max() <= 1
    assert (paint(name, np.random.default_rng(4))[0] == colours).all()


@pytest.mark.parametrize("size", [32, 64, 128])
def test_other_sizes_and_unit_normals(size):
    rendered = render(Factors((Placement(PLAIN),), "mountain"), size)
    assert rendered.image.shape == (size, size, 3)
    assert np.allclose(np.linalg.norm(normals(rendered.depth), axis=-1), 1, atol=1e-5)


def test_a_data_set_does_not_depend_on_the_number_of_workers():
    images, captions, factors = render_many(300, seed=7, workers=1)
    again = render_many(300, seed=7, workers=2)
    assert (images == again[0]).all()
    assert (captions, factors) == again[1:]


def test_textures_are_pictures_that_differ():
    pictures = textures(8, np.random.default_rng(0))
    assert pictures.shape == (8, 64, 64, 3)
    assert len({p.tobytes() for p in pictures}) == 8

"""Rendering: determinism, legible marks, poses, masks and depth."""

from dataclasses import replace

import numpy as np
import pytest

from booth.world import sampling
from booth.world.anchors import anchors
from booth.world.denoiser import is_upright
from booth.world.identity import Identity
from booth.world.nothing import textures
from booth.world.render import Factors, Placement, normals, render
from booth.world.sampling import render_many, sample_factors, with_room
from booth.world.scenes import paint
from booth.world.sprites import GLYPH, sprite
from booth.world.vocabulary import ACCESSORIES, COLOURS, MATERIALS, NOUNS, SCENES
from booth.world.warp import SIDE

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
    upright = Placement(MARKED["pattern"], size=88)
    turned = replace(upright, angle=12.0, flip=True, x=68.0)

    def mean_colour(placement):
        rendered = render(Factors((placement,), "studio", seed=5))
        weight = rendered.mask[0][..., None]
        return (rendered.image * weight).sum((0, 1)) / weight.sum()

    assert changed_share(picture(upright), picture(turned)) > 0.05
    assert np.abs(mean_colour(upright) - mean_colour(turned)).max() < 6


@pytest.mark.parametrize("accessory", ACCESSORIES)
def test_every_live_glyph_can_wear_every_accessory(accessory):
    live = [(noun.name, glyph) for noun in NOUNS.values() if noun.live for glyph in noun.glyphs]
    for noun, glyph in live:
        dressed = with_room(Placement(Identity(noun, glyph), size=84, accessory=accessory))
        assert changed_share(picture(replace(dressed, accessory=None)), picture(dressed)) > 0.008, glyph


def test_what_does_not_live_wears_nothing():
    with pytest.raises(KeyError):
        anchors("teapot")


def test_a_hat_is_in_the_picture_however_the_head_was_placed():
    for glyph in ("dog", "cat_face@twemoji", "horse"):
        placed = with_room(Placement(Identity("dog", glyph), accessory="wizard hat", y=30, size=120))
        bare = render(Factors((replace(placed, accessory=None),), "studio")).mask[0]
        hat = render(Factors((placed,), "studio")).mask[0] - bare
        assert hat[:2].max() < 0.5, "its tip is not cut off"
        assert hat.sum() > 150


@pytest.mark.parametrize("mark", [{"shading": "round"}, {"texture": "fur"}, {"texture": "speckle"}])
def test_light_and_stuff_are_seen_and_leave_the_silhouette(mark):
    plain, marked = (Factors((Placement(identity),), "studio", 5) for identity in (PLAIN, replace(PLAIN, **mark)))
    before, after = render(plain), render(marked)
    assert (before.mask == after.mask).all()
    inside = before.mask[0] > 0.9
    assert np.abs(before.image.astype(int) - after.image)[inside].mean() > 2


def test_night_is_dark_and_its_things_are_blue():
    day, night = (render(Factors((Placement(PLAIN),), scene, 3)) for scene in ("studio", "night"))
    colours = [rendered.image[rendered.mask[0] > 0.95].mean(0) for rendered in (day, night)]
    assert colours[1].mean() < 0.72 * colours[0].mean()
    assert colours[1][2] / colours[1][0] > 1.25 * colours[0][2] / colours[0][0]


@pytest.mark.parametrize("scene", ["snow", "meadow", "wheat field"])
def test_ground_hides_the_foot(scene):
    placed = Placement(Identity("car", "car"), y=90, size=70)
    hidden = render(Factors((placed,), scene, 1)).mask[0].sum()
    assert hidden < 0.995 * render(Factors((placed,), "cobblestone", 1)).mask[0].sum()


@pytest.mark.parametrize("scene", ["beach", "desert", "studio", "tiles", "pink fabric"])
def test_things_darken_the_ground_they_rest_on(scene):
    placed = Placement(Identity("apple", "apple"), y=80, size=64)
    empty, shown = render(Factors((), scene, 2)), render(Factors((placed,), scene, 2))
    assert empty.mask.shape == (0, 128, 128)
    around = shown.mask[0] < 0.01
    fall = empty.image.astype(int).sum(-1) - shown.image.astype(int).sum(-1)
    assert (fall[around] > 40).sum() > 60


def test_two_objects_have_two_masks_that_do_not_overlap():
    pair = (Placement(PLAIN, x=56, size=60), Placement(Identity("car", "car"), x=76, size=60))
    mask = render(Factors(pair, "beach"), 64).mask
    assert mask.shape == (2, 64, 64)
    assert mask.sum(axis=0).max() < 1.01
    assert mask.sum(axis=(1, 2)).min() > 100


@pytest.mark.parametrize("name", SCENES)
def test_every_scene_is_painted_and_nears_within_bounds(name):
    painted = paint(name, np.random.default_rng(4))
    assert painted.picture.shape == (*painted.nearness.shape, 3) == (128, 128, 3)
    assert painted.nearness.min() >= 0
    assert painted.nearness.max() <= 1
    assert (paint(name, np.random.default_rng(4)).picture == painted.picture).all()
    assert np.abs(paint(name, np.random.default_rng(5)).picture - painted.picture).mean() > 0.4, "no two are alike"


@pytest.mark.parametrize("size", [32, 64, 128])
def test_other_sizes_and_unit_normals(size):
    rendered = render(Factors((Placement(PLAIN),), "mountain"), size)
    assert rendered.image.shape == (size, size, 3)
    assert np.allclose(np.linalg.norm(normals(rendered.depth), axis=-1), 1, atol=1e-5)


def test_upright_things_are_whole_in_the_middle_and_on_their_ground():
    rng = np.random.default_rng(5)
    drawn = [sample_factors(rng, upright_share=1.0, two_share=0.2, empty_share=0.1) for _ in range(300)]
    assert all(is_upright(factors) for factors in drawn)
    assert {len(factors.objects) for factors in drawn} == {0, 1, 2}
    for factors in drawn:
        for o in factors.objects:
            wide, high = (
                side / GLYPH * o.size for side in (sprite(o.identity.glyph).width, sprite(o.identity.glyph).height)
            )
            assert o.x in ({33.0, 95.0} if len(factors.objects) == 2 else {SIDE / 2})
            assert o.x - wide / 2 + 1e-6 >= 0
            assert o.y - high / 2 + 1e-6 >= 0
            assert o.y + high / 2 <= SIDE
            if SCENES[factors.scene].support == "ground" and o.accessory is None:
                assert o.y + high / 2 == pytest.approx(sampling.UPRIGHT_FOOT)


def test_without_a_share_nothing_is_upright_by_rule():
    drawn = [sample_factors(np.random.default_rng(i), two_share=0.0) for i in range(40)]
    assert not any(is_upright(factors) for factors in drawn)


def test_a_data_set_does_not_depend_on_the_number_of_workers(monkeypatch):
    monkeypatch.setattr(sampling, "CHUNK", 20)
    images, captions, factors = render_many(50, seed=7, workers=1)
    again = render_many(50, seed=7, workers=2)
    assert (images == again[0]).all()
    assert (captions, factors) == again[1:]


def test_textures_are_pictures_that_differ():
    pictures = textures(8, np.random.default_rng(0))
    assert pictures.shape == (8, 128, 128, 3)
    assert len({p.tobytes() for p in pictures}) == 8

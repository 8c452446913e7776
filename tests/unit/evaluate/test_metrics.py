"""Every metric against numbers worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from booth.core.method import Subject
from booth.core.metric import Drawn, Metric, Refused, Shared
from booth.evaluate.measure import measure as measured_by
from booth.registry import METRICS
from booth.world.judges import Verdict
from planes import XXY, XY, Planes, X, Y, Z, drawn, evidence, plain

ROOT = 2**-0.5


def measure(name: str, encoder: Any = None, **fields: Any) -> dict[str, Any]:
    scores = METRICS[name]().measure(evidence(**fields), encoder or Planes())
    return {score.part: score for score in scores}


def value(name: str, part: str = "", **fields: Any) -> float:
    return measure(name, **fields)[part].value


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_says_what_it_is(name: str) -> None:
    kind: type[Metric] = METRICS[name]
    assert kind.name == name
    assert kind.better in {"higher", "lower"}
    assert kind.range[0] < kind.range[1]
    assert kind.title
    assert kind.source
    assert set(kind.needs) <= evidence().__dict__.keys()


def test_subject_similarity_is_the_mean_over_all_pairs() -> None:
    # drawn x references: (X, X) 1, (X, Y) 0, (XY, X) ROOT, (XY, Y) ROOT
    fields = {"drawn": drawn((X, "a sks dog x"), (XY, "a sks dog y")), "references": [X, Y]}
    score = measure("subject_similarity", **fields)[""]
    assert score.units == pytest.approx((0.5, ROOT))
    assert score.value == pytest.approx((0.5 + ROOT) / 2)
    assert score.name == "subject_similarity/planes"
    assert score.low == pytest.approx(0.5)
    assert score.high == pytest.approx(ROOT)


def test_pictures_of_one_prompt_are_one_unit() -> None:
    rows = drawn((X, "a"), (X, "b"), (Y, "a"), (X, "b"))
    assert measure("subject_similarity", drawn=rows, references=[X])[""].units == pytest.approx((0.5, 1.0))


def test_photos_are_not_compared_with_themselves() -> None:
    rows = drawn((X, "a"), (XY, "a"), reference=True)
    assert value("subject_similarity", drawn=rows, references=[X, XY]) == pytest.approx(ROOT)
    with pytest.raises(Refused, match="single photo"):
        value("subject_similarity", drawn=rows[:1], references=[X])


def test_the_mask_takes_the_background_away() -> None:
    def on(background: tuple[int, int, int]) -> Image.Image:
        picture = Image.new("RGB", (64, 64), background)
        picture.paste((250, 10, 10), (20, 20, 44, 44))
        return picture

    rows = drawn((on((10, 200, 10)), "a"))
    references = [on((10, 10, 200))]
    assert value("subject_similarity", drawn=rows, references=references) < 0.7
    assert value("masked_similarity", drawn=rows, references=references) > 0.99


def test_lookalikes_is_the_share_of_pairs_that_are_won() -> None:
    # similarity to X: X 1, XXY .894, XY .707, Y 0
    rows = drawn((XXY, "a"), (Y, "b"))
    assert value("lookalikes", drawn=rows, references=[X], lookalikes=[XY, X]) == pytest.approx((0.5 + 0) / 2)


def test_prompt_similarity_with_and_without_the_token() -> None:
    class Reader(Planes):
        words = Planes.words | {"sks": (0, 1, 0)}

    scores = measure("prompt_similarity", Reader(), drawn=drawn((X, "a sks x"), (Y, "a sks x")))
    assert scores["token_dropped"].value == pytest.approx(0.5)
    assert scores["token_kept"].value == pytest.approx(ROOT)


def test_preservation_compares_class_pictures_with_the_subject() -> None:
    assert value("preservation", class_drawn=[X, Y], references=[X, XY]) == pytest.approx((1 + ROOT + 0 + ROOT) / 4)


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    scores = measure("diversity", drawn=drawn((X, "a"), (Y, "a"), (X, "b"), (XY, "b")), class_drawn=[X, X, Y])
    assert scores["prompt"].units == pytest.approx((1.0, 1 - ROOT))
    assert scores["class"].value == pytest.approx(2 / 3)  # pairs: 0, 1, 1
    with pytest.raises(Refused, match="two seeds"):
        measure("diversity", drawn=drawn((X, "a")))
    with pytest.raises(Refused, match="no drawings"):
        measure("diversity", drawn=drawn((X, "a"), (Y, "a"), reference=True))


def test_drift_names_its_pools_and_needs_pictures() -> None:
    pictures = [plain(200 + i, 10 * i, 20) for i in range(6)]
    fields = {"class_drawn": pictures, "class_base": [plain(10, 200 + i, 20) for i in range(6)]}
    scores = measure("cmmd", **fields, unrelated_drawn=pictures, unrelated_base=pictures)
    assert set(scores) == {"class", "unrelated"}
    assert scores["class"].low > 0
    assert scores["unrelated"].value == pytest.approx(0, abs=1e-9), "an untouched model has not drifted"
    assert measure("kid", **fields)["class"].low > 0
    with pytest.raises(Refused, match="too few"):
        measure("cmmd", class_drawn=[X], class_base=[Y])


def test_frechet_is_refused_below_two_thousand_pictures_a_side() -> None:
    with pytest.raises(Refused, match=r"2,000.*CMMD and KID"):
        measure("frechet", class_drawn=[X] * 1999, class_base=[Y] * 2000)
    score = measure("frechet", class_drawn=[X] * 2000, class_base=[Y] * 2000)["class"]
    assert score.value == pytest.approx(2.0)  # two points, |X - Y|^2
    assert score.to_json()["low"] is None


def test_copying_counts_what_is_nearer_than_the_photos_are_to_each_other() -> None:
    # The photos X and XY have a cosine of ROOT, which is the threshold.
    scores = measure("copying", drawn=drawn((XXY, "a"), (Y, "b"), (Z, "b")), photos=[X, XY])
    assert scores["share"].details["threshold"] == pytest.approx(ROOT, abs=1e-4)
    assert [(w, copy) for w, _, copy in scores["nearest"].details["matches"]] == [(2, True), (2, False), (1, False)]
    # XXY has 3/sqrt(10) with XY; Y has ROOT exactly, which is not above; Z has 0
    assert scores["nearest"].units == pytest.approx((3 / 10**0.5, ROOT / 2), abs=1e-5)
    assert scores["share"].units[0] == 1.0


def split(left: tuple[int, int, int], right: tuple[int, int, int], across: bool = True) -> Image.Image:
    """A picture of two halves, one beside or one above the other."""
    image = plain(*left)
    image.paste(plain(*right), (4, 0) if across else (0, 4))
    return image


def test_a_new_picture_of_the_very_subject_is_no_copy_unless_it_is_laid_out_like_a_photo() -> None:
    photos = [split((255, 0, 0), (0, 255, 0)), Z]
    new, copy = split((255, 0, 0), (0, 255, 0), across=False), split((240, 5, 0), (0, 240, 9))
    scores = measure("copying", drawn=drawn((new, "a"), (copy, "b")), photos=photos)
    assert scores["nearest"].units == pytest.approx((1, 1), abs=1e-3), "to the encoder both are the photo"
    assert scores["share"].units == (0.0, 1.0)


def test_copying_sees_a_mirrored_photo() -> None:
    class Left(Planes):
        def embed(self, images: Sequence[Image.Image]) -> Any:
            return super().embed([image.crop((0, 0, 4, 8)) for image in images])

    half = split((255, 0, 0), (0, 255, 0))
    mirrored = half.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scores = measure("copying", Left(), drawn=drawn((mirrored, "a")), photos=[half, Z])
    assert scores["nearest"].value == pytest.approx(1.0)
    assert scores["share"].value == 1.0


def test_a_photo_saved_twice_is_no_threshold() -> None:
    assert measure("copying", drawn=drawn((X, "a")), photos=[X, X, Y])["share"].details["threshold"] == 0.0
    with pytest.raises(Refused, match="two different photos"):
        measure("copying", drawn=drawn((X, "a")), photos=[X, X])


def test_background_counts_what_is_nearer_than_the_base_ever_came() -> None:
    def on(background: tuple[int, int, int]) -> Image.Image:
        picture = Image.new("RGB", (64, 64), background)
        picture.paste((250, 250, 250), (24, 24, 40, 40))
        return picture

    sofa, lawn, wall = on((160, 20, 20)), on((20, 160, 20)), on((20, 20, 160))
    rows = drawn((sofa, "a"), (lawn, "b"), (sofa, "c"), (wall, "d"))
    untouched = drawn((lawn, "a"), (wall, "b"))
    score = measure("background", drawn=rows, photos=[wall, on((150, 30, 20))], untouched=untouched)[""]
    assert score.details == {"photos": {"2": 2}, "of": 4}
    assert score.units == (1.0, 0.0, 1.0, 0.0)


def test_a_background_a_little_nearer_than_the_bases_is_no_photos() -> None:
    where = {"subject_mask": lambda image: np.zeros((8, 8), dtype=bool)}
    fields = {"photos": [X], "untouched": drawn((XY, "a")), **where}  # cosine .71, so that .85 is halfway
    for level, counted in ((150, 0.0), (100, 1.0)):  # cosines .8 and .89
        drawing = plain(200, level, 0)
        assert measure("background", drawn=drawn((drawing, "a")), **fields)[""].units == (counted,)


def test_a_picture_that_the_subject_fills_has_no_background() -> None:
    def mask(image: Image.Image) -> np.ndarray:
        """The subject is white; a picture without any black is all subject."""
        return np.asarray(image.convert("L")) > 200

    half, full = X.copy(), plain(255, 255, 255)
    half.paste((255, 255, 255), (0, 0, 4, 8))
    fields = {"photos": [half], "untouched": drawn((full, "a"), (Y, "b")), "subject_mask": mask}
    scores = measure("background", drawn=drawn((full, "a"), (half, "b")), **fields)
    assert scores[""].units == (0.0, 1.0)
    assert scores["similarity"].units == pytest.approx((1.0,))
    with pytest.raises(Refused, match="no picture has a background"):
        measure("background", drawn=drawn((full, "a")), **fields)
    with pytest.raises(Refused, match="no threshold"):
        measure("background", drawn=drawn((half, "a")), **fields | {"untouched": drawn((full, "a"))})


def test_the_likeness_of_backgrounds_needs_no_base() -> None:
    where = {"subject_mask": lambda image: np.zeros((8, 8), dtype=bool)}
    scores = measure("background", drawn=drawn((XY, "a"), (Z, "b")), photos=[X, Y], **where)
    assert set(scores) == {"similarity"}
    assert scores["similarity"].units == pytest.approx((ROOT, 0.0), abs=1e-6)


def test_cost_is_what_the_record_says() -> None:
    scores = METRICS["cost"]().measure(evidence(cost={"seconds": 12.5, "bytes": 100}), None)
    assert [(s.name, s.value) for s in scores] == [("cost/seconds", 12.5), ("cost/bytes", 100)]


class Told:
    """A judge that says what it is told to."""

    name = "told"
    nouns = ("dog", "cat")

    def __init__(self, verdicts: list[Verdict], same: list[bool]) -> None:
        self.by_picture: dict[int, tuple[Verdict, bool]] = {}
        self._rows = list(zip(verdicts, same, strict=True))

    def about(self, rows: list[Drawn]) -> Told:
        self.by_picture = {id(d.image): row for d, row in zip(rows, self._rows, strict=True)}
        return self

    def verdicts(self, images: list[Image.Image]) -> list[Verdict]:
        return [self.by_picture[id(i)][0] for i in images]

    def same(self, images: list[Image.Image], references: list[Image.Image]) -> list[bool]:
        return [self.by_picture[id(i)][1] for i in images]


def test_a_photos_scene_counts_where_another_was_asked_for() -> None:
    def in_scene(scene: str) -> Verdict:
        return Verdict(("dog",), scene, "none", "none")

    asked = [
        ("a sks dog in the jungle", "studio"),  # photo 2's
        ("a sks dog in the jungle", "jungle"),
        ("a sks dog in the snow", "studio"),  # asked for what photo 1 shows: not looked at
        ("a sks dog on the beach", "meadow"),  # wrong, but no photo's
        ("a red sks dog", "studio"),  # asks for no scene
    ]
    rows = drawn(*((plain(i, i, i), prompt) for i, (prompt, _) in enumerate(asked)))
    photos = drawn((X, "1"), (Y, "2"))
    scenes = [*(scene for _, scene in asked), "snow", "studio"]
    judge = Told([in_scene(s) for s in scenes], [True] * 7).about([*rows, *photos])
    score = measure("scene_leak", judge, drawn=rows, photos=[d.image for d in photos])[""]
    assert score.units == (0.5, 0.0)  # the jungle at two seeds, the beach
    assert score.details == {"photos": {"2": 1}, "scenes": {"2": "studio"}, "of": 3}
    with pytest.raises(Refused, match="in no photo"):
        measure("scene_leak", judge, drawn=rows[2:3], photos=[d.image for d in photos])


def shared(*, alone: bool = True) -> dict[str, Any]:
    """Two subjects, whose photos are X and Y: with both loaded the first is half the second, which keeps itself."""

    def one(name: str, reference: Image.Image, loaded: Image.Image, own: Image.Image) -> Shared:
        sets = [drawn((image, f"a {name} in the snow")) for image in (loaded, own, Z)]
        token, noun = name.split()
        return Shared(Subject(token, noun), [reference], sets[0], sets[1] if alone else [], sets[2])

    pair = [one("sks dog", X, XY, X), one("zwx cat", Y, Y, Y)]
    return {"subjects_together": pair, "drawn_together": drawn((XY, "a sks dog and a zwx cat in the snow"))}


def test_bleeding_is_the_fall_of_own_minus_other() -> None:
    scores = measure("bleeding", **shared())
    # own minus other: the dog from 1 - 0 to ROOT - ROOT, the cat 1 - 0 both times
    assert scores[""].units == pytest.approx((1.0, 0.0), abs=1e-6)
    assert scores["other"].units == pytest.approx((ROOT, 0.0), abs=1e-6)  # the base's are like neither
    assert scores["together"].units == pytest.approx((0.0, 1 - ROOT), abs=1e-6)
    told = scores[""].details
    assert told["worst"] == ["sks dog", "zwx cat"]
    assert told["subjects"]["sks dog"]["alone"] == {"own": 1.0, "other": 0.0}
    assert told["subjects"]["sks dog"]["loaded"] == {"own": 0.7071, "other": 0.7071}


def test_subjects_of_one_run_are_measured_against_the_base() -> None:
    scores = measure("bleeding", **shared(alone=False))
    assert set(scores) == {"other", "together"}
    assert scores["other"].value == pytest.approx(ROOT / 2)
    assert "alone" not in scores["other"].details["subjects"]["zwx cat"]


def test_accuracy_and_joint_success_by_prompt() -> None:
    asked = [
        ("a sks dog in the snow", Verdict(("dog",), "snow", "none", "none"), True),
        ("a sks dog in the jungle", Verdict(("cat",), "snow", "none", "none"), True),
        ("a red sks dog", Verdict(("dog",), "studio", "red", "none"), False),
        ("a sks dog wearing a santa hat", Verdict(("dog", "cat"), "studio", "red", "santa hat"), True),
        ("a photo of sks dog", Verdict(("dog",), "studio", "none", "none"), False),
    ]
    rows = drawn(*((plain(i, i, i), prompt) for i, (prompt, _, _) in enumerate(asked)))
    judge = Told([v for _, v, _ in asked], [s for *_, s in asked]).about(rows)
    scores = measure("accuracy", judge, drawn=rows, references=[X])
    assert {part: s.value for part, s in scores.items()} == {"object": 0.8, "scene": 0.5, "colour": 1, "accessory": 1}
    assert measure("identity", judge, drawn=rows, references=[X])[""].value == pytest.approx(0.6)
    # right together: the snow and the hat; not the jungle (scene) and not the red one (identity); the last asks nothing
    assert measure("joint", judge, drawn=rows, references=[X])[""].value == pytest.approx(0.5)
    with pytest.raises(Refused, match="no prompt asks"):
        measure("joint", judge, drawn=rows[-1:], references=[X])
    spaceship = Subject("sks", "spaceship")
    assert "object" not in measure("accuracy", judge, subject=spaceship, drawn=rows)  # which the judge does not know
    with pytest.raises(Refused, match="knows no spaceship"):
        measure("accuracy", judge, subject=spaceship, drawn=rows[-1:])


def test_a_style_is_not_taken_for_an_individual() -> None:
    class Individuals(Planes):
        name = "individuals"
        roles = ("subject",)

    style = Subject("sks", "style", "style")
    fields = {"photos": [X, XY], "references": [X, Y], "lookalikes": [XY]}
    shown = evidence(subject=style, drawn=drawn((X, "a picture of x in sks style")), **fields)
    found = measured_by(shown, [Individuals(), Planes()])
    assert "subject_similarity/planes" in found.scores
    assert not any(name.endswith("/individuals") for name in found.scores if name.startswith("subject_similarity"))
    for name in ("identity", "joint", "lookalikes", "masked_similarity", "background", "bleeding"):
        assert found.refused[name] == METRICS[name].not_of_styles

"""What is said for which numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from booth.core.metric import Score
from booth.core.statistics import interval
from booth.evaluate.measure import Measured
from booth.evaluate.rows import BASE, CONCEPT, IMAGE_ONLY, PROMPT_ONLY
from booth.evaluate.verdicts import verdicts

SUBJECT, PROMPT, LEAK = "subject_similarity", "prompt_similarity", "preservation"


def score(metric: str, units: Sequence[float], part: str = "", **details: Any) -> Score:
    value = sum(units) / len(units)
    return Score(metric, value, *interval(units), tuple(units), part, "dino-vits16", details)


def rows(**given: dict[str, Sequence[float]]) -> dict[str, Measured]:
    """By row, the units of subject and prompt similarity and of preservation."""
    found: dict[str, Measured] = {}
    for row in (CONCEPT, BASE, IMAGE_ONLY, PROMPT_ONLY):
        scores = [
            score(metric, units, "token_dropped" if metric == PROMPT else "")
            for metric, units in given.get(row, {}).items()
        ]
        found[row] = Measured({s.name: s for s in scores})
    return found


HIGH, LOW = [0.7, 0.72, 0.68, 0.71], [0.4, 0.45, 0.38, 0.41]
FOLLOWED, IGNORED = [0.31, 0.30, 0.32, 0.29], [0.20, 0.21, 0.19, 0.20]


def kinds(table: dict[str, Measured]) -> list[str]:
    return [v.kind for v in verdicts(table, "dog")]


def references(subject: Sequence[float], prompt: Sequence[float]) -> dict[str, Measured]:
    return rows(
        concept={SUBJECT: subject, PROMPT: prompt},
        base={SUBJECT: LOW, PROMPT: FOLLOWED},
        image_only={SUBJECT: HIGH, PROMPT: IGNORED},
        prompt_only={SUBJECT: LOW, PROMPT: FOLLOWED},
    )


def test_learned_when_it_is_nearer_than_the_base_and_follows_the_prompt() -> None:
    found = verdicts(references(HIGH, FOLLOWED), "dog")[0]
    assert (found.kind, found.good) == ("learned", True)
    told = found.to_json(references(HIGH, FOLLOWED))
    assert told["evidence"]["subject_similarity/dino-vits16"] == {
        "concept": 0.7025,
        "base": 0.41,
        "image_only": 0.7025,
        "prompt_only": 0.41,
    }


def test_not_yet_when_the_gain_is_within_noise() -> None:
    assert kinds(references([0.41, 0.44, 0.385, 0.41], FOLLOWED)) == ["not_yet"]
    assert kinds(references([x + 0.005 for x in LOW], FOLLOWED)) == ["not_yet"]  # sure, but no more than noise


def test_overfitted_when_the_prompt_is_lost() -> None:
    assert kinds(references(HIGH, [x + 0.02 for x in IGNORED])) == ["overfitted"]
    assert kinds(references(HIGH, [x - 0.02 for x in FOLLOWED])) == ["learned"]


def test_a_leak_into_the_class() -> None:
    table = references(HIGH, FOLLOWED)
    for row, units in ((CONCEPT, [0.6, 0.62, 0.61]), (BASE, [0.4, 0.42, 0.41])):
        leak = score(LEAK, units)
        table[row].scores[leak.name] = leak
    assert kinds(table) == ["learned", "leaks"]
    assert '"a dog"' in verdicts(table, "dog")[1].sentence


def test_the_photo_that_is_copied_and_the_background_that_comes_back_are_named() -> None:
    table = references(HIGH, FOLLOWED)
    matches = [[3, 0.99, True], [3, 0.98, True], [1, 0.96, False], [2, 0.5, False]]
    nearest = score("copying", [0.9, 0.8], "nearest", threshold=0.95, matches=matches)
    share = score("copying", [1.0, 0.5], "share", threshold=0.95)
    once = score("copying", [1.0, 0.0, 0.0, 0.0], "share", threshold=0.95)
    sofa = score("background", [1.0, 0.5, 1.0], photos={"1": 1, "2": 6}, of=12)
    table[CONCEPT].scores |= {s.name: s for s in (nearest, share, sofa)}
    found = verdicts(table, "dog")[1:]
    assert [(v.kind, v.photo) for v in found] == [("copies", 3), ("background", 2)]
    assert "2 of 4 pictures" in found[0].sentence
    table[CONCEPT].scores[once.name] = once  # as a single picture of many, which may be chance
    assert "copies" not in kinds(table)
    assert "Photo 2's background appears in 6 of 12 pictures" in found[1].sentence


def test_a_photos_scene_is_named_where_it_comes_more_often_than_with_the_base() -> None:
    table = references(HIGH, FOLLOWED)
    told = {"photos": {"1": 2, "3": 6}, "scenes": {"1": "meadow", "3": "sofa"}, "of": 12}
    leak = score("scene_leak", [1.0, 0.5, 1.0, 0.5], **told)
    table[CONCEPT].scores[leak.name] = leak
    table[BASE].scores[leak.name] = score("scene_leak", [0.0, 0.5, 0.0, 0.0])
    found = verdicts(table, "dog")[1]
    assert (found.kind, found.photo) == ("background", 3)
    assert "Photo 3's sofa appears in 6 of 12 pictures that were to show another scene" in found.sentence
    table[BASE].scores[leak.name] = leak  # the base does so too
    assert kinds(table) == ["learned"]


def test_bleeding_is_told_and_so_is_its_absence() -> None:
    def told(part: str, units: Sequence[float]) -> str:
        table = references(HIGH, FOLLOWED)
        about = {"worst": ["sks dog", "zwx cat"], "subjects": {"sks dog": {}, "zwx cat": {}}}
        number = score("bleeding", units, part, **about)
        table[CONCEPT].scores[number.name] = number
        last = verdicts(table, "dog")[-1]
        assert last.good == (last.kind == "apart")
        return last.sentence

    bleeds = told("", [0.1, 0.2, 0.15])
    assert "asked for sks dog only" in bleeds
    assert "more of zwx cat than with each concept alone" in bleeds
    assert "than with the untouched base" in told("other", [0.1, 0.2, 0.15])
    assert told("", [-0.1, 0.2, 0.01]).startswith("Used together, sks dog, zwx cat stay apart")
    assert told("", [0.003, 0.002, 0.004]).startswith("Used together")  # sure, but no more than noise


def test_drift_beyond_its_interval_is_told() -> None:
    table = references(HIGH, FOLLOWED)
    moved = Score("cmmd", 0.5, 0.2, 0.8, (), "class", "dinov2-base")
    still = Score("cmmd", 0.1, -0.1, 0.3, (), "unrelated", "dinov2-base")
    table[CONCEPT].scores |= {s.name: s for s in (moved, still)}
    found = verdicts(table, "dog")[1]
    assert found.kind == "drifted"
    assert "other pictures of a dog" in found.sentence
    assert "unrelated" not in found.sentence

"""How the judges learn and are tested: labels, line-ups, and that a network with nothing learned guesses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from booth.core.rng import Rng
from booth.world import judging, lineups
from booth.world.identity import Identity
from booth.world.judge_errors import picks_the_right_one, where_errors_are_equal
from booth.world.judge_targets import MARKS, UNMENTIONED, labels_of, marks_of
from booth.world.judges import (
    ACCESSORY_NAMES,
    COLOUR_NAMES,
    NOUN_NAMES,
    SCENE_NAMES,
    FactorJudge,
    read_judge,
    save_judge,
)
from booth.world.render import Factors, Placement


@pytest.fixture(scope="module")
def groups() -> tuple[np.ndarray, list[list[Identity]]]:
    return lineups.identity_groups(3, seed=1, held_out=False, workers=1)


def test_labels_leave_out_what_no_judge_can_tell() -> None:
    dog, cup = Identity("dog", "dog"), Identity("cup", "cup")
    alone = labels_of(Factors((Placement(dog, "red", None, "santa hat"),), "beach"))
    assert [NOUN_NAMES[alone[0]], alone[1], SCENE_NAMES[alone[2]]] == ["dog", -1, "beach"]
    assert (COLOUR_NAMES[alone[3]], ACCESSORY_NAMES[alone[4]]) == ("red", "santa hat")
    both = labels_of(Factors((Placement(dog, "red"), Placement(cup)), "beach"))
    assert NOUN_NAMES[both[1]] == "cup"
    assert both[3] == both[4] == UNMENTIONED, "whose colour it is cannot be said of two"
    nothing = labels_of(Factors((), "beach"))
    assert [*nothing[:2], SCENE_NAMES[nothing[2]], *nothing[3:]] == [
        -1,
        -1,
        "beach",
        UNMENTIONED,
        UNMENTIONED,
    ]
    golden = labels_of(Factors((Placement(dog, None, "golden"),), "beach"))
    assert golden[3] == UNMENTIONED, "gold is near to more than one colour"


def test_a_group_is_one_noun_and_glyph_with_rivals_that_differ_in_few_marks(groups) -> None:
    pictures, individuals = groups
    assert pictures.shape == (3, 1 + lineups.RIVALS, lineups.VIEWS, 64, 64, 3)
    for group in individuals:
        assert len(set(group)) == 1 + lineups.RIVALS
        first = marks_of(group[0])
        for rival in group[1:]:
            differing = [m for m, a, b in zip(MARKS, first, marks_of(rival), strict=True) if a != b]
            # A mark's kind and its colour go together.
            assert 1 <= len({m.removesuffix("_colour") for m in differing}) <= 2
            assert "glyph" not in differing


def test_marks_are_told_apart_by_their_places() -> None:
    identity = Identity("dog", "poodle", "teal", "dots", "lemon", "top", "ink", "snow", "round", "fur")
    named = [values[i] for values, i in zip(MARKS.values(), marks_of(identity), strict=True)]
    assert named == ["poodle", "teal", "dots", "lemon", "top", "ink", "snow", "round", "fur"]


def test_a_line_up_is_eleven_of_a_kind() -> None:
    assert lineups.lineups(1, seed=2, workers=1).shape == (1, 11, 2, 64, 64, 3)


def test_the_nearest_second_picture_decides() -> None:
    vectors = torch.zeros(2, 3, 2, 4)  # (line-ups, individuals, pictures, width)
    vectors[0, 0, 0, 0] = vectors[0, 0, 1, 0] = 1.0  # its own second picture points the same way
    vectors[1, 0, 0, 1] = vectors[1, 2, 1, 1] = 1.0  # another's does
    assert picks_the_right_one(vectors) == 0.5


def test_a_threshold_has_as_many_errors_on_either_side() -> None:
    above, below = torch.tensor([0.2, 0.5, 0.7, 0.9]), torch.tensor([0.0, 0.1, 0.3, 0.6])
    threshold = where_errors_are_equal(above, below, torch.linspace(0, 1, 101))
    assert 0.3 < threshold <= 0.5  # one of four is below, and one of four is not
    assert (above < threshold).sum() == (below >= threshold).sum() == 1


def test_a_judge_is_kept_in_a_byte_a_weight_and_says_the_same(tmp_path) -> None:
    torch.manual_seed(0)
    judge = FactorJudge().eval().to(memory_format=torch.channels_last)
    save_judge(judge, tmp_path / "judge.safetensors")
    assert (tmp_path / "judge.safetensors").stat().st_size < 1.05 * sum(p.numel() for p in judge.parameters())
    kept = read_judge(FactorJudge(), tmp_path / "judge.safetensors")
    for name, weight in judge.state_dict().items():
        apart = (kept.state_dict()[name] - weight).abs().flatten(1 if weight.ndim > 1 else 0)
        most = weight.abs().flatten(1).amax(1, keepdim=True) if weight.ndim > 1 else weight.abs()
        assert (apart <= most / 250).all(), name
    assert not any(p.requires_grad for p in kept.parameters())


def test_a_judge_kept_in_half_precision_is_read_as_before(tmp_path) -> None:
    judge = FactorJudge().half()
    save_file(judge.state_dict(), tmp_path / "judge.safetensors")
    kept = read_judge(FactorJudge(), tmp_path / "judge.safetensors")
    assert all(torch.equal(kept.state_dict()[name], value.float()) for name, value in judge.state_dict().items())


def test_a_factor_judge_learns_from_what_the_base_never_sees(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    asked: list[dict] = []

    def render(count: int, **how: object) -> tuple[np.ndarray, list[str], list[Factors]]:
        asked.append(how)
        return np.zeros((count, 64, 64, 3), np.uint8), ["a dog"] * count, [Factors((), "beach")] * count

    monkeypatch.setattr(judging, "render_many", render)
    monkeypatch.setattr(judging, "through", lambda vae, images, device: images)
    pictures, _, labels = judging.factor_pictures(tmp_path, 8, None, 1, "cpu")
    assert (len(pictures), len(labels)) == (8, 8)
    assert {name: asked[0][name] for name in ("split", "designer")} == {"split": "any", "designer": "any"}


def test_pictures_are_moved_and_not_changed() -> None:
    picture = torch.arange(64.0 * 64).reshape(1, 1, 64, 64).expand(1, 3, 64, 64)
    seen = {judging.moved(picture, Rng(0, step))[0, 0, 32, 32].item() for step in range(40)}
    offsets = {(int(v) // 64 - 32, int(v) % 64 - 32) for v in seen}
    assert len(offsets) > 10
    assert max(abs(o) for pair in offsets for o in pair) == judging.SHIFT


def test_half_of_the_pictures_are_mirrored_and_each_is_whole() -> None:
    pictures = torch.rand(40, 3, 8, 8)
    shown = judging.mirrored(pictures, Rng(0, 3))
    turned = [torch.equal(one, other.flip(-1)) for one, other in zip(shown, pictures, strict=True)]
    kept = [torch.equal(one, other) for one, other in zip(shown, pictures, strict=True)]
    assert all(t != k for t, k in zip(turned, kept, strict=True))
    assert 10 < sum(turned) < 30
    assert torch.equal(shown, judging.mirrored(pictures, Rng(0, 3)))


def test_the_identity_judge_learns_a_few_individuals_by_heart(groups) -> None:
    pictures, individuals = groups
    marks = torch.tensor([[marks_of(i) for i in group] for group in individuals])
    torch.manual_seed(0)
    learner = judging.IdentityLearner()
    loss = judging.identity_loss(learner, pictures, marks, "cpu", batch=1)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3)
    values = []
    for step in range(20):
        value, _ = loss(step)
        value.backward()
        assert all(p.grad is not None for p in learner.parameters())
        optimizer.step()
        optimizer.zero_grad()
        values.append(value.item())
    assert np.mean(values[-6:]) < 0.8 * np.mean(values[:6])

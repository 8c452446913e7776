"""When a run is done, and which of its checkpoints is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from lessons import Heard, Lesson, stop_after, weights
from safetensors.torch import load_file

from booth.core.errors import Interrupted
from booth.events import Event, Reporter
from booth.train import callbacks, selection
from booth.train.run import train
from booth.train.selection import Marks, Selection

pytestmark = pytest.mark.usefixtures("no_samples")


class Script:
    """A judge whose opinion is known beforehand."""

    def __init__(self, levels: Sequence[float]) -> None:
        self.levels = list(levels)
        self.asked = 0

    def score(self) -> Marks:
        level = self.levels[min(self.asked, len(self.levels) - 1)]
        self.asked += 1
        return Marks({"subject": level}, [level, level + 0.01, level - 0.01])

    def about(self) -> dict[str, Any]:
        return {"encoders": {}}


class NoUpdate:
    """Nothing that is averaged."""

    def averaged(self) -> Any:
        from contextlib import nullcontext

        return nullcontext()

    def parameters(self) -> dict[str, torch.Tensor]:
        return {"w": torch.zeros(1)}


def scored(levels: Sequence[float]) -> Selection:
    """A selection that looked every ten steps until it was done or the levels were used up."""
    chosen = Selection(Script(levels), 1.0, Reporter())
    for i in range(1, len(levels) + 1):
        if chosen.look(10 * i, NoUpdate()):  # type: ignore[arg-type]
            break
    return chosen


def test_it_stops_after_three_scorings_without_a_sure_gain() -> None:
    chosen = scored([0.1, 0.3, 0.5, 0.5, 0.5, 0.5, 0.9])
    assert (chosen.stopped, chosen.best.step) == (60, 30)
    assert scored([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]).stopped is None


def test_the_best_is_kept_though_later_ones_are_worse() -> None:
    chosen = scored([0.1, 0.6, 0.4, 0.3, 0.2])
    assert (chosen.stopped, chosen.best.step) == (50, 20)
    told = chosen.record()
    assert told is not None
    assert (told["step"], told["stopped"], [s["step"] for s in told["scored"]]) == (20, 50, [10, 20, 30, 40, 50])


def test_it_waits_for_the_first_gain() -> None:
    """Nothing is learned for long, then all at once: standing still at nothing is no end."""
    assert scored([0.0] * 8).stopped is None
    assert scored([0.0] * 8 + [0.5] * 4).stopped == 120


def test_small_gains_add_up() -> None:
    levels = [0.3 + 0.002 * i for i in range(12)]
    assert scored(levels).stopped is None


@pytest.mark.parametrize(("cost", "speed"), [(1.0, 0.1), (7.0, 0.03), (0.01, 0.5)])
def test_scoring_never_takes_more_than_fifteen_percent(cost: float, speed: float) -> None:
    chosen = Selection(Script([0.1]), cost, Reporter())
    spent, trained = cost, 0.0
    for step in range(1, 4000):
        trained += speed
        chosen.note(step, speed)
        if chosen.due(step):
            chosen.scored.append(selection.Scored(step, {}, [0.0]))
            spent += cost
            assert spent <= 0.15 * (spent + trained) + 1e-9
    assert len(chosen.scored) >= 2


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Script]:
    """Every run's judge likes its second look best and scoring is free, so that it looks every second step."""
    made: list[Script] = []

    def make(*_: Any) -> Script:
        made.append(Script([0.2, 0.6, 0.5, 0.5, 0.5, 0.1]))
        return made[-1]

    monkeypatch.setattr(callbacks, "JUDGES", {"checkpoints": make})
    monkeypatch.setattr(selection, "WARM", 2)
    monkeypatch.setattr(callbacks, "Selection", lambda judge, cost, reporter: Selection(judge, 0.0, reporter))
    return made


@pytest.mark.essential
def test_a_run_until_done_stops_early_and_keeps_the_best_weights(lesson: Lesson, judged: list[Script]) -> None:
    keep = Heard()
    options = {"checkpoint_every": 5, "learning_rate": 1e-3, "batch_size": 1}
    concept = train(lesson(until="done", steps=40, **options), listeners=[keep])
    chosen = concept.record.selection
    assert chosen is not None
    assert (chosen["step"], chosen["stopped"]) == (6, 12)  # looks at 4, 6, 8, 10, 12
    assert keep.steps[-1] == 12
    assert (concept.record.steps, concept.record.stages[-1].steps) == (12, 12)
    straight = train(lesson(out="straight", steps=6, **options))
    file = "pytorch_lora_weights.safetensors"
    best, same = load_file(concept.folder / file), load_file(straight.folder / file)
    assert best.keys() == same.keys()
    assert all(torch.equal(best[name], same[name]) for name in best)
    assert any("after 6 steps is kept" in text for text in keep.messages)


def test_a_run_that_was_stopped_between_scorings_chooses_the_same(lesson: Lesson, judged: list[Script]) -> None:
    options = {"until": "done", "steps": 40, "checkpoint_every": 3, "learning_rate": 1e-3, "batch_size": 1}
    whole = train(lesson(out="whole", **options))
    with pytest.raises(Interrupted):
        train(lesson(**options), listeners=[stop_after(8)])
    # The judge is made anew, and goes on with what it would have said.
    judged.clear()
    patched = judged

    def later(event: Event) -> None:
        if event.kind == "plan":
            patched[-1].asked = 2

    resumed = train(lesson(**options, resume=True), listeners=[later])
    assert resumed.record.selection is not None
    assert whole.record.selection is not None
    assert resumed.record.selection["scored"] == whole.record.selection["scored"]
    assert weights(resumed.folder) == weights(whole.folder)


def test_steps_are_obeyed_and_left_out_they_may_be_exceeded(lesson: Lesson, judged: list[Script], toy: Any) -> None:
    from booth.train.setup import method_settings

    config = lesson(until="done", steps=3)
    assert method_settings(config, "tiny").steps == config.settings["steps"]
    free = config.model_copy(update={"settings": {}})
    plain = free.model_copy(update={"until": "steps"})
    assert method_settings(free, "tiny").steps == 3 * method_settings(plain, "tiny").steps
    keep = Heard()
    concept = train(config, listeners=[keep])
    assert concept.record.selection is None
    assert any("too short" in text for text in keep.messages)
    assert judged[-1].asked == 0


def test_only_the_last_stage_is_scored(lesson: Lesson, judged: list[Script]) -> None:
    concept = train(lesson("two_stage", until="done", steps=5, token_steps=5, batch_size=1))
    chosen = concept.record.selection
    assert chosen is not None
    assert [s["step"] for s in chosen["scored"]] == [4]
    assert [s.steps for s in concept.record.stages] == [5, 5]


def test_until_done_is_another_run(lesson: Lesson, judged: list[Script]) -> None:
    from booth.core.errors import UsageError

    train(lesson())
    with pytest.raises(UsageError, match="until was None and is now 'done'"):
        train(lesson(until="done", resume=True))

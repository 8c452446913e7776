"""A run of which two workers share the rows goes on the same way wherever it is resumed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from lessons import Lesson, stop_after, weights

from booth.core.errors import Interrupted
from booth.train import setup
from booth.train.run import train

pytestmark = pytest.mark.usefixtures("no_samples")


@pytest.fixture(autouse=True)
def _cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(setup, "SHARING", 2)
    former = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(former)


def test_a_run_keeps_its_workers_on_a_machine_with_another_number_of_cores(lesson: Lesson) -> None:
    settings = {"batch_size": 3}
    straight = train(lesson("lora", "straight", **settings))
    config = lesson("lora", "stopped", **settings)
    with pytest.raises(Interrupted):
        train(config, listeners=[stop_after(1)])
    torch.set_num_threads(1)
    resumed = train(config.model_copy(update={"resume": True}))
    assert weights(resumed.folder) == weights(straight.folder)
    alone = train(lesson("lora", "alone", **settings))
    assert weights(alone.folder) != weights(straight.folder)  # else the above would say nothing

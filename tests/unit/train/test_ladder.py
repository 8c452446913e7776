"""Out of memory: the step is made again in smaller parts, of the same batch and noise, and the run says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lessons import Heard, Lesson, stop_after
from safetensors.torch import load_file

from booth.core.errors import Interrupted, OutOfMemoryError
from booth.events import read_events
from booth.families.stable_diffusion import StableDiffusion
from booth.train.run import train

MOST = 1  # rows that there is memory for


@pytest.fixture
def cramped(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """More rows than fit into memory are told as torch's allocator tells it; the passes that were made."""
    passes: list[int] = []
    predict = StableDiffusion.predict

    def cramped(self: Any, x_t: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(x_t) > MOST:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        passes.append(len(x_t))
        return predict(self, x_t, *rest)

    monkeypatch.setattr(StableDiffusion, "predict", cramped)
    return passes


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "pytorch_lora_weights.safetensors")


@pytest.mark.essential
@pytest.mark.usefixtures("no_samples")
def test_the_batch_stays_what_it_was(lesson: Lesson, request: pytest.FixtureRequest) -> None:
    options: dict[str, Any] = {"batch_size": 4, "steps": 3, "prior_weight": 0.5, "class_pictures": 4, "accumulate": 2}
    options |= {"learning_rate": 1e-3, "timesteps": None}
    roomy = Heard()
    whole = train(lesson("lora", "roomy", **options), listeners=[roomy])
    passes, heard = request.getfixturevalue("cramped"), Heard()
    parted = train(lesson("lora", "cramped", **options), listeners=[heard])
    assert passes == [1] * 8 * 2 * 3
    for one, other in zip(heard.of("step"), roomy.of("step"), strict=True):
        assert one.data["loss"] == pytest.approx(other.data["loss"], rel=1e-5)
    for name, tensor in weights(whole.folder).items():
        assert torch.allclose(tensor, weights(parted.folder)[name], atol=2e-3 * float(tensor.abs().max())), name
    assert [event.data["parts"] for event in heard.of("memory")] == [2, 4, 8]
    assert "Out of memory at step 1" in heard.of("memory")[0].text
    kept = [e.data["parts"] for e in read_events(parted.folder / "run" / "events.jsonl") if e.kind == "memory"]
    assert kept == [2, 4, 8]
    assert roomy.of("memory") == []


@pytest.mark.usefixtures("no_samples", "cramped")
def test_a_resumed_run_stays_where_it_was(lesson: Lesson) -> None:
    unbroken = train(lesson("lora", "unbroken", batch_size=2, steps=3))
    stopped = lesson("lora", "stopped", batch_size=2, steps=3)
    with pytest.raises(Interrupted):
        train(stopped, listeners=[stop_after(2)])
    heard = Heard()
    resumed = train(stopped.model_copy(update={"resume": True}), listeners=[heard])
    assert heard.of("memory") == []
    assert all(torch.equal(t, weights(resumed.folder)[n]) for n, t in weights(unbroken.folder).items())


def test_on_the_lowest_rung_it_ends_with_advice(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, *rest: Any) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(StableDiffusion, "predict", full)
    heard, config = Heard(), lesson("lora", batch_size=2)
    with pytest.raises(OutOfMemoryError, match="Out of memory"):
        train(config, listeners=[heard])
    told = [(event.data["parts"], event.data["recomputes"]) for event in heard.of("memory")]
    assert told == [(2, False), (2, True)]
    assert not config.folder.exists()

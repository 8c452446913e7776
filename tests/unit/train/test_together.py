"""Several runs in one pass: each is what it is alone, but for the rounding of sums, and fails or stops alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from booth.concept import Concept
from booth.config import RunConfig
from booth.core.cancel import CancelToken
from booth.core.errors import BadDataError, Cancelled, UsageError
from booth.core.threads import computing_with
from booth.events import Event
from booth.session import Session
from booth.train.run import train
from booth.train.together import train_together
from booth.train.update import Update
from harness import tensors

# Of the largest value of a tensor. Sums over more rows are added up in another order, and AdamW's first steps take
# the sign of a gradient: where it is near nothing, that may be the other one.
TOLERANCE = 2e-3
KINDS: list[dict[str, Any]] = [
    {"method": "lora", "settings": {"rank": 4}},
    {"method": "lora", "settings": {"rank": 2, "prior_weight": 1.0, "class_pictures": 4, "accumulate": 2, "ema": 0.9}},
    {"method": "rslora", "settings": {"rank": 2, "ranks": {"to_q": 3}, "targets": ["attention"]}},
    {"method": "textual_inversion", "settings": {"vectors": 2}},
]
Asked = Callable[..., list[RunConfig]]


@pytest.fixture
def asked(toy_base: Path, five_photos: Path, tmp_path: Path) -> Asked:
    """Three runs that differ in seed, photos, words and learning rate."""

    def make(home: str, **more: Any) -> list[RunConfig]:
        files = sorted(five_photos.glob("*.png"))
        values: dict[str, Any] = {"base": str(toy_base), "device": "cpu"} | more
        own: dict[str, Any] = {"steps": 4, "batch_size": 2, "learning_rate": 1e-3, "prior_weight": 0.0} | values.pop(
            "settings", {}
        )
        return [
            RunConfig(
                photos=files[i : i + 3],
                noun=("dog", "cat", "dog")[i],
                token=("sks", "zwx", "sks")[i],
                seed=i,
                out=tmp_path / home / str(i),
                settings=own | {"learning_rate": own["learning_rate"] * (i + 1)},
                **values,
            )
            for i in range(3)
        ]

    return make


def weights(concept: Any) -> dict[str, torch.Tensor]:
    assert isinstance(concept, Concept), concept
    files = sorted(concept.folder.glob("*.safetensors"))
    return {f"{file.name} {name}": t for file in files for name, t in load_file(file).items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() != set()
    for name, tensor in one.items():
        largest = max(float(tensor.abs().max()), 1e-12)
        assert float((tensor - other[name]).abs().max()) <= TOLERANCE * largest, name


@pytest.mark.essential
@pytest.mark.parametrize("kind", KINDS, ids=[f"{k['method']} {len(k['settings'])}" for k in KINDS])
def test_each_run_is_what_it_is_alone(kind: dict[str, Any], asked: Asked, toy_base: Path) -> None:
    with Session(str(toy_base)) as session, computing_with(1):
        with session.model() as model:
            before = {n: t.clone() for n, t in tensors(model).items()}
        found = train_together(asked("together", **kind), session=session)
        alone = [train(config, samples=False, session=session) for config in asked("alone", **kind)]
        with session.model() as model:
            after = tensors(model)
        assert session.loads == 1
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before)
    for one, other in zip(found, alone, strict=True):
        same(weights(one), weights(other))
        assert isinstance(one, Concept)
        assert one.record.steps == other.record.steps
    first, second, _ = (weights(one) for one in found)
    assert any(not torch.allclose(first[n], second.get(n, first[n]), rtol=0.1) for n in first if "lora_A" not in n) or (
        first.keys() != second.keys()
    )


@pytest.mark.essential
def test_one_pass_makes_the_gradients_of_all(asked: Asked, toy_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    with Session(str(toy_base)) as session, session.model() as model:
        kind = type(model)
        predict = kind.predict

        def counting(self: Any, x_t: torch.Tensor, *rest: Any) -> torch.Tensor:
            passes.append(len(x_t))
            return predict(self, x_t, *rest)

        monkeypatch.setattr(kind, "predict", counting)
        train_together(asked("together"), session=session)
    assert passes == [6] * 4


@pytest.mark.parametrize("settings", [{}, {"prior_weight": 1.0, "prior": "prediction"}], ids=["plain", "own prior"])
def test_what_was_stopped_goes_on_together_and_to_the_same(
    asked: Asked, toy_base: Path, settings: dict[str, Any]
) -> None:
    with Session(str(toy_base)) as session, computing_with(1):
        whole = train_together(asked("whole", settings=settings), session=session)
        token = CancelToken()

        def stop(event: Event) -> None:
            if event.kind == "step" and event.data["step"] == 2:
                token.cancel("Enough.")

        with pytest.raises(Cancelled, match="Enough"):
            train_together(
                asked("stopped", settings=settings), session=session, listeners=[[], [stop], []], cancel=token
            )
        resumed = [c.model_copy(update={"resume": True}) for c in asked("stopped", settings=settings)]
        found = train_together(resumed, session=session)
    for one, other in zip(found, whole, strict=True):
        same(weights(one), weights(other))


def test_a_run_that_fails_or_goes_back_leaves_the_others_alone(
    asked: Asked, toy_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = asked("together")
    runs[0].photos[:] = [runs[0].photos[0].with_name("gone.png")]
    norm, shots = Update.norm, [4]

    def storm(self: Update) -> torch.Tensor:
        """Four times in a row the second run's gradient is not finite."""
        found = norm(self)
        if self.config.learning_rate == 2e-3 and shots[0]:
            shots[0] -= 1
            return found * float("nan")
        return found

    with Session(str(toy_base)) as session, computing_with(1):
        alone = [train(config, samples=False, session=session) for config in asked("alone")[2:]]
        monkeypatch.setattr(Update, "norm", storm)
        failed, stormy, calm = train_together(runs, session=session)
    assert isinstance(failed, BadDataError)
    assert isinstance(stormy, Concept)
    assert len(stormy.record.recoveries) == 1
    same(weights(calm), weights(alone[0]))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"method": "dora"}, "DoRA with these settings is taught alone"),
        ({"settings": {"dropout": 0.5}}, "LoRA with these settings is taught alone"),
        ({"settings": {"train_text_encoder": True}}, "taught alone"),
        ({"previews": 1}, "with previews"),
    ],
)
def test_what_cannot_share_a_pass_is_refused(more: dict[str, Any], told: str, asked: Asked, toy_base: Path) -> None:
    with Session(str(toy_base)) as session, pytest.raises(UsageError, match=told):
        train_together(asked("together", **more), session=session)


def test_runs_of_two_shapes_are_refused(asked: Asked, toy_base: Path) -> None:
    runs = [asked("a")[0], asked("b", settings={"rank": 3})[1]]
    with Session(str(toy_base)) as session, pytest.raises(UsageError, match="differ in rank"):
        train_together(runs, session=session)

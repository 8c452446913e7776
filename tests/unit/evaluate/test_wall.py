"""The wall of a run: its rows, its numbers, its reason, and another concept of another checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import booth
from booth.concept import Concept
from booth.config import RunConfig
from booth.core.encoder import Encoder
from booth.core.errors import BadDataError, UsageError
from booth.core.method import Subject
from booth.evaluate import wall as module
from booth.evaluate.wall import in_words, keep, reason, wall, without_subject
from booth.registry import ENCODERS
from booth.train.run import train


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, toy_base: Path, five_photos: Path) -> Concept:
    """Four steps on the toy base, with a preview and a checkpoint after every two."""
    out = tmp_path_factory.mktemp("wall") / "rex"
    settings = {"steps": 4, "rank": 2}
    asked = {"photos": [five_photos], "noun": "dog", "base": str(toy_base), "out": out, "settings": settings}
    return train(RunConfig.model_validate(asked | {"previews": 2, "checkpoint_every": 2, "keep_checkpoints": 9}))


def test_every_row_is_compared_with_the_base_at_the_same_seeds(taught: Concept, tmp_path: Path) -> None:
    told = wall(taught, tmp_path / "wall")
    assert [row["step"] for row in told["rows"]] == [None, 2, 4]
    assert [row["kept"] for row in told["rows"]] == [False, True, False]
    assert told["rows"][2]["final"]
    assert told["prompts"][1] == "a photo of sks dog on the beach"
    assert told["plain"][1] == "a photo of a dog on the beach"
    base = told["rows"][0]
    assert base["gain"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    for row in told["rows"][1:]:
        assert len(row["cells"]) == len(told["prompts"])
        assert all(c["gain"]["low"] <= c["gain"]["mean"] <= c["gain"]["high"] for c in row["cells"])
    assert told["best"] in (1, 2)
    kept = json.loads((tmp_path / "wall" / "wall.json").read_text())
    assert kept["rows"] == told["rows"]
    assert all(Path(f).is_file() for row in kept["rows"] for f in row["files"])


def test_what_is_called_for_comes_first_and_others_do_what_it_cannot(
    taught: Concept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Grey(Encoder):
        """Sees how bright a picture is, and where."""

        name, title, roles = "grey", "grey", ("subject", "distribution")

        def embed(self, images: Sequence[Image.Image]) -> torch.Tensor:
            small = [torch.tensor(list(image.convert("L").resize((4, 4)).tobytes())).float() for image in images]
            return torch.nn.functional.normalize(torch.stack(small) - 127, dim=-1)

        def weights_hash(self) -> str:
            return ""

        def preprocessing(self) -> dict[str, Any]:
            return {}

    ENCODERS.register(Grey)
    told = wall(taught, tmp_path / "grey", encoders=["grey"])
    assert (told["called"], told["encoders"]) == (["grey"], {"subject": "grey", "prompt": "world-agreement"})
    both = wall(taught, tmp_path / "both", encoders=["world-agreement", "grey"])
    assert both["rows"][1]["gain"] == told["rows"][1]["gain"]
    monkeypatch.setattr(module, "draw", None)  # told before anything is drawn
    with pytest.raises(UsageError, match="no encoder called 'gray'"):
        wall(taught, tmp_path / "none", encoders=["gray"])
    assert not (tmp_path / "none").exists()


def test_another_checkpoint_becomes_the_concept_that_it_would_have_been(
    taught: Concept, tmp_path: Path, toy_base: Path, five_photos: Path
) -> None:
    made = keep(taught, 2, tmp_path / "rex-2")
    assert made.record.steps == 2
    weights = load_file(made.folder / "pytorch_lora_weights.safetensors")
    settings = {"steps": 2, "rank": 2}
    short = booth.train(five_photos, noun="dog", base=str(toy_base), out=tmp_path / "short", settings=settings)
    others = load_file(short.folder / "pytorch_lora_weights.safetensors")
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in others)


def test_what_was_not_kept_or_not_drawn_is_told(
    taught: Concept, tmp_path: Path, toy_base: Path, five_photos: Path
) -> None:
    with pytest.raises(UsageError, match="after 2, 4"):
        keep(taught, 3, tmp_path / "x")
    plain = booth.train(five_photos, noun="dog", base=str(toy_base), out=tmp_path / "plain", settings={"steps": 1})
    with pytest.raises(BadDataError, match="Train with `previews`"):
        wall(plain, tmp_path / "wall")
    assert not (plain.folder / "run" / "checkpoints").exists()


def row(step: int, units: list[float], low: float = 0.1) -> dict:
    score = sum(units) / len(units)
    return {
        "step": step,
        "units": units,
        "score": score,
        "gain": {"mean": 0.2, "low": low, "high": 0.3},
        "followed": 0.9,
    }


@pytest.mark.parametrize(
    ("rows", "step", "ends"),
    [
        ([row(10, [0.2] * 4), row(20, [0.8] * 4), row(30, [0.3] * 4)], 20, "step 30 is worse."),
        ([row(10, [0.5, 0.6, 0.5, 0.6]), row(20, [0.6, 0.5, 0.6, 0.4])], 10, "step 20 is no better."),
        ([row(10, [0.1] * 4), row(20, [0.2] * 4)], 20, "of what the prompts ask for."),
        ([row(10, [0.1] * 4, low=-0.1)], 10, "train on."),
    ],
)
def test_the_reason_is_a_sentence(rows: list[dict], step: int, ends: str) -> None:
    told = [{"step": None}, *rows]
    best = module._best(told)
    why = reason(told, best)
    assert why["step"] == step
    assert in_words(why).endswith(ends)


def test_the_base_is_asked_for_the_same_without_the_subject() -> None:
    dog, style = Subject("sks", "dog"), Subject("sks", "style", "style")
    assert without_subject("a photo of sks dog in the snow", dog) == "a photo of a dog in the snow"
    assert without_subject("a photo of sks owl", Subject("sks", "owl")) == "a photo of an owl"
    assert without_subject("a picture of a dog in sks style", style) == "a picture of a dog"

"""The model card, what is pushed, and the prompt card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from booth.concept import Concept
from booth.core.errors import BadDataError, NotAvailableError, UsageError
from booth.core.family import Family
from booth.export.run import export
from booth.families.loading import CONTROLS_FOLDER
from booth.generate.prompt_card import PLACES, PromptCard, make_prompt_card, read_prompt_card, write_prompt_card
from booth.hub.card import model_card
from booth.hub.push import pack, push


def test_the_hub_reads_the_front_matter(lora: Concept):
    card = ModelCard(model_card(lora))
    assert card.data.library_name == "diffusers"
    assert card.data.tags[:3] == ["text-to-image", "diffusers", "diffusers-training"]
    values = yaml.safe_load(model_card(lora).split("---")[1])
    assert values["instance_prompt"] == "a photo of sks dog"
    assert "base_model" not in values  # a folder of this machine is no name on the Hub
    assert {"text": "a photo of sks dog", "output": {"url": "samples/001-a-photo-of-sks-dog-0.png"}} in values["widget"]
    assert all((lora.folder / w["output"]["url"]).is_file() for w in values["widget"])


def test_the_base_on_the_hub_is_named(lora: Concept):
    base = lora.record.base.model_copy(update={"name": "me/base"})
    values = yaml.safe_load(
        model_card(Concept(lora.folder, lora.record.model_copy(update={"base": base}))).split("---")[1]
    )
    assert (values["base_model"], values["base_model_relation"]) == ("me/base", "adapter")


def test_no_path_caption_or_photo_leaves_this_machine_unasked(lora: Concept, five_photos: Path, here: Path):
    file = export(lora, "kohya").file
    parcel = pack(lora, [file])
    assert "pytorch_lora_weights.safetensors" in parcel.files
    assert file.name in parcel.files
    assert any(name.startswith("samples/") for name in parcel.files)
    assert not {"concept.json", "manifest.json"} & parcel.files.keys()
    assert str(lora.folder.parent) not in parcel.card
    assert lora.record.base.name not in parcel.card
    assert "captions" not in parcel.card
    assert not any(name.startswith("photos/") for name in parcel.files)
    assert {f"photos/{i}.png" for i in range(5)} <= pack(lora, photos=five_photos).files.keys()


SCORES = {
    "identity/world-judges": ("identity", "", "world-judges", 0.9, 0.8, 1.0, "same individual"),
    "subject_similarity/clip-vit-base-patch32": (
        "subject_similarity",
        "",
        "clip-vit-base-patch32",
        0.75,
        0.7,
        0.8,
        "CLIP-I",
    ),
    "cost/bytes": ("cost", "bytes", "", 2.8e6, 2.8e6, 2.8e6, "size of the file"),
}


def evaluation_of(concept: Concept, file: Path) -> Path:
    """As `booth evaluate` writes it, as far as a card reads it."""
    keys = ("metric", "part", "encoder", "value", "low", "high", "label")
    scores = {name: dict(zip(keys, score, strict=True)) for name, score in SCORES.items()}
    nothing = {**scores["identity/world-judges"], "value": 0.0, "low": 0.0, "high": 0.0}
    told = {"kind": "evaluation", "created": concept.record.created, "metrics": scores,
            "base": {"identity/world-judges": nothing},
            "verdicts": [{"sentence": "Learned: well."}], "references": "held out",
            "protocol": {"suite": "live", "templates": ["a {}", "a {} at night"], "seeds": [0, 1]}}  # fmt: skip
    file.write_text(json.dumps(told))
    return file


def test_what_was_measured_stands_on_the_card_beside_the_base(lora: Concept, tmp_path: Path):
    card = pack(lora, evaluation=evaluation_of(lora, tmp_path / "evaluation.json")).card
    assert "- Learned: well." in card
    assert "| same individual | world-judges | 0.900 [0.800, 1.000] | 0.000 |" in card
    assert "| CLIP-I | clip-vit-base-patch32 | 0.750 [0.700, 0.800] |  |" in card
    assert "| size of the file |  | 2.8 MB |  |" in card
    (result,) = ModelCard(card).data.eval_results[:1]
    assert (result.task_type, result.metric_type, result.metric_value) == (
        "text-to-image",
        "identity/world-judges",
        0.9,
    )
    assert "## Measured" not in pack(lora).card


def test_numbers_of_another_concept_are_refused(lora: Concept, tmp_path: Path):
    other = Concept(lora.folder, lora.record.model_copy(update={"created": "2020-01-01T00:00:00+00:00"}))
    with pytest.raises(BadDataError, match="tells of another concept"):
        pack(lora, evaluation=evaluation_of(other, tmp_path / "evaluation.json"))
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(BadDataError, match=r"is not the evaluation\.json"):
        pack(lora, evaluation=tmp_path / "x.json")


def test_the_embedded_base_is_called_so_and_empty_lists_are_left_out(lora: Concept):
    base = lora.record.base.model_copy(update={"name": "embedded"})
    data = lora.record.data | {"masks": [None, None], "hints": [None, None]}
    card = model_card(Concept(lora.folder, lora.record.model_copy(update={"base": base, "data": data})))
    assert "taught to booth's embedded base by lora" in card
    assert "None, None" not in card


def test_pushing_is_private_and_sends_exactly_the_parcel(lora: Concept, monkeypatch: pytest.MonkeyPatch):
    asked: dict[str, Any] = {}

    class Hub:
        def create_repo(self, name: str, **how: Any) -> str:
            asked.update(how)
            return f"https://huggingface.co/{name}"

        def model_info(self, name: str) -> SimpleNamespace:
            return SimpleNamespace(private=asked.get("theirs", asked["private"]))

        def upload_folder(self, folder_path: Path, **how: Any) -> None:
            files = [p for p in folder_path.rglob("*") if p.is_file()]
            asked["files"] = {p.relative_to(folder_path).as_posix() for p in files}

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    parcel = pack(lora)
    assert push(parcel, "me/rex") == "https://huggingface.co/me/rex"
    assert asked["private"] is True
    assert asked["files"] == {*parcel.files, "README.md"}
    push(parcel, "me/rex", public=True)
    assert asked["private"] is False
    for name in ("rex", "me/my rex", "me/rex/x", "me/--", "datasets/me/rex"):
        with pytest.raises(UsageError, match="no repository"):
            push(parcel, name)
    asked.pop("files")
    for private, advice in ((False, "is public on the Hub.* Add `public`"), (True, "is private.* Leave out `public`")):
        asked["theirs"] = private
        with pytest.raises(UsageError, match=advice):
            push(parcel, "me/rex", public=private)
    assert "files" not in asked
    with pytest.raises(BadDataError, match="no file"):
        pack(lora, [Path("none.safetensors")])


def test_a_hub_that_cannot_be_reached_is_no_defect_of_booth(lora: Concept, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import HfApi

    def nowhere() -> HfApi:
        return HfApi(endpoint="http://127.0.0.1:9", token="hf_x")

    monkeypatch.setattr("huggingface_hub.HfApi", nowhere)
    with pytest.raises(NotAvailableError, match="me/rex was not uploaded"):
        push(pack(lora), "me/rex")


def test_only_the_concepts_own_files_go(lora: Concept, tmp_path: Path):
    copy = Concept.load(shutil.copytree(lora.folder, tmp_path / "copy"))
    secret = tmp_path / "secret.txt"
    secret.write_text("key")
    (copy.folder / "notes.txt").symlink_to(secret)
    (copy.folder / "private.txt").write_text("mine")
    write_prompt_card(copy.folder, PromptCard(strength=1, guidance=3, prompts=("a",), score=1, judge="x"))
    assert pack(copy).files.keys() == {*pack(lora).files, "prompt-card.json"}
    for name in ("pytorch_lora_weights.safetensors", "README.md"):
        (tmp_path / name).write_text("x")
        with pytest.raises(UsageError, match=f"There is a {name} already"):
            pack(copy, [tmp_path / name])
    with pytest.raises(UsageError, match=r"There is a secret\.txt already"):
        pack(copy, [secret, secret])
    sample = next((copy.folder / "samples").iterdir())
    sample.rename(tmp_path / "elsewhere.png")
    sample.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(BadDataError, match="is a link"):
        pack(copy)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.png").symlink_to(secret)
    with pytest.raises(BadDataError, match="is a link"):
        pack(lora, photos=photos)


def test_paths_and_revisions_stay_off_the_card(lora: Concept):
    base = lora.record.base.model_copy(update={"name": "me/base@0123abc"})
    settings = lora.record.settings | {
        "prior_from": "/home/alice/nets/canny",
        "also": ["C:\\Users\\bob\\x.png"],
    }
    card = model_card(Concept(lora.folder, lora.record.model_copy(update={"base": base, "settings": settings})))
    assert yaml.safe_load(card.split("---")[1])["base_model"] == "me/base"
    assert "| prior_from | canny |" in card
    assert "alice" not in card
    assert "bob" not in card


def test_a_controlnets_card_tells_what_it_follows():
    card = model_card(Concept.load(CONTROLS_FOLDER / "canny"))
    assert "A ControlNet that follows canny, taught to booth's embedded base" in card
    assert '"a photo of a dog" --control hint.png --control-type canny' in card
    assert "Write the two words" not in card
    assert "instance_prompt" not in yaml.safe_load(card.split("---")[1])


def test_the_sweep_finds_the_setting_that_the_judge_prefers(lora: Concept, toy: Family):
    """A judge who likes each setting better than the one before it gets the last; the opposite judge the first."""
    drawn: list[np.ndarray] = []

    def judge(pictures: Any, prompts: Any) -> list[float]:
        arrays = [np.asarray(picture, dtype=float) for picture in pictures]
        drawn.extend(arrays)
        return [float(prompts.index(p)) + 100 * len(drawn) for p in prompts]  # later settings, later prompts

    settings = {"strengths": (0.5, 1.0), "guidances": (1.0, 3.0), "steps": 1}
    card = make_prompt_card(toy, lora, judge, "the test", **settings)
    assert (card.strength, card.guidance) == (1.0, 3.0)
    assert card.prompts == tuple(f"a photo of sks dog{place}" for place in reversed(PLACES[-3:]))
    assert len(drawn) == 4 * len(PLACES)
    assert not np.array_equal(drawn[0], drawn[-len(PLACES)])
    least = make_prompt_card(toy, lora, lambda p, q: [-x for x in judge(p, q)], "the test", **settings)
    assert (least.strength, least.guidance) == (0.5, 1.0)


def test_a_method_without_strength_is_swept_over_guidance_alone(word: Concept, toy: Family):
    card = make_prompt_card(toy, word, lambda pictures, _: [0.0] * len(pictures), "x", guidances=(2.0,), steps=1)
    assert (card.strength, card.guidance) == (None, 2.0)


def test_a_card_stands_in_the_folder_the_header_and_the_readme(lora: Concept, tmp_path: Path, here: Path):
    from safetensors import safe_open

    copy = Concept.load(shutil.copytree(lora.folder, tmp_path / "copy"))
    assert read_prompt_card(copy.folder) is None
    card = PromptCard(strength=0.8, guidance=3.0, prompts=("a", "b", "c"), score=0.5, judge="the test")
    write_prompt_card(copy.folder, card)
    assert read_prompt_card(Concept.load(copy.folder).folder) == card
    assert "Best with strength 0.8 and guidance 3, judged by the test" in model_card(copy)
    with safe_open(export(copy, "kohya").file, "pt") as file:
        assert file.metadata()["modelspec.usage_hint"] == "strength 0.8, guidance 3; try: a; b; c"
    (copy.folder / "prompt-card.json").write_text("{}")
    with pytest.raises(BadDataError, match="cannot be read"):
        read_prompt_card(copy.folder)

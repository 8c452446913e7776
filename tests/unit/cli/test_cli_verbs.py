"""The verbs that only tell: inspect, methods, doctor; and demo and world."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from told import last_object

from booth.concept import Concept
from booth.families import loading
from booth.registry import METHODS
from booth.world import demo
from booth.world.identity import Identity, is_held_out


def test_inspect_tells_the_record_after_checking_it(booth_cli, lora: Concept) -> None:
    told = last_object(booth_cli("inspect", lora.folder, "--json"))
    record = json.loads((lora.folder / "concept.json").read_text())
    assert told == record | {"verified": True}
    shown = booth_cli("inspect", lora.folder).stdout
    assert "sks dog" in shown
    assert "pytorch_lora_weights.safetensors" in shown


def test_inspect_names_a_changed_file(booth_cli, lora: Concept, tmp_path: Path) -> None:
    copy = shutil.copytree(lora.folder, tmp_path / "copy")
    with (copy / "pytorch_lora_weights.safetensors").open("ab") as file:
        file.write(b"\0")
    result = booth_cli("inspect", copy, "--json")
    assert (result.exit_code, last_object(result)["exit_code"]) == (72, 72)
    assert "pytorch_lora_weights.safetensors" in result.stderr


def test_methods_tells_all_of_them(booth_cli, toy_base: Path) -> None:
    told = {
        entry["name"]: entry for entry in last_object(booth_cli("methods", "--base", toy_base, "--json"))["methods"]
    }
    assert list(told) == list(METHODS)
    for name, entry in told.items():
        assert "stable_diffusion" in entry["families"]
        assert entry["trains"] == METHODS[name].trains
        assert entry["defaults"]["tiny"] == json.loads(json.dumps(METHODS[name].defaults("tiny")))
        assert entry["bytes"] == 4 * entry["values"]
    assert told["textual_inversion"]["values"] == 8 * 32  # eight vectors on a tiny base
    shown = booth_cli("methods", "--base", toy_base).stdout
    assert all(f"{name}: " in shown for name in METHODS)


def test_doctor_tells_device_memory_versions_and_base(booth_cli) -> None:
    import torch

    told = last_object(booth_cli("doctor", "--json"))
    assert told["versions"]["torch"] == torch.__version__
    assert told["memory_bytes"] > told["memory_available_bytes"] > 0
    assert told["device"] in {"cpu", "cuda"}
    assert set(told["embedded_base"]) == {"found", "folder", "hash", "parameters", "bytes"}
    assert isinstance(told["missing"], list)
    assert told["versions"]["torch"] in booth_cli("doctor").stdout


def test_doctor_says_when_the_base_is_missing(booth_cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loading, "EMBEDDED_FOLDER", tmp_path / "none")
    told = last_object(booth_cli("doctor", "--json"))
    assert told["embedded_base"]["found"] is False
    assert any("embedded base" in sentence for sentence in told["missing"])


def test_doctor_counts_what_the_base_holds(booth_cli, monkeypatch: pytest.MonkeyPatch, toy_base: Path) -> None:
    from booth.families.loading import base_hash, load_family

    monkeypatch.setattr(loading, "EMBEDDED_FOLDER", toy_base)
    base = last_object(booth_cli("doctor", "--json"))["embedded_base"]
    modules = load_family(str(toy_base)).components().values()
    assert base["parameters"] == sum(t.numel() for module in modules for t in module.state_dict().values())
    assert base["hash"] == base_hash(toy_base)


def test_demo_teaches_the_bundled_subject_and_shows_it(
    booth_cli, toy_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "PROMPTS", demo.PROMPTS[:1])  # each is drawn twice, and the command runs twice
    result = booth_cli("demo", "--method", "lora", "--base", toy_base, "--steps", 1, "--json")
    assert result.exit_code == 0, result.stderr
    told = last_object(result)
    assert told["sheet"] == "booth-demo/sheet.png"
    assert Path(told["sheet"]).is_file()
    assert Concept.load(told["concept"]).record.subject.noun == "dog"
    again = booth_cli("demo", "--method", "lora", "--base", toy_base, "--steps", 1)
    assert again.stdout == "booth-demo/sheet-2.png\n", "the first one stays"


def test_world_render_writes_captioned_pictures(booth_cli) -> None:
    result = booth_cli("world", "render", "-n", 3, "--out", "w", "--json")
    assert result.exit_code == 0, result.stderr
    told = last_object(result)
    lines = [json.loads(line) for line in Path("w/metadata.jsonl").read_text().splitlines()]
    assert [f"w/{line['file_name']}" for line in lines] == told["images"]
    assert all(line["text"] for line in lines)
    assert Path(told["sheet"]).is_file()
    assert booth_cli("world", "render", "--split", "no").exit_code == 2


def test_world_subject_writes_photos_of_one_unseen_individual(booth_cli) -> None:
    result = booth_cli("world", "subject", "glasses", "--seed", 12, "--out", "pair", "--json")
    told = last_object(result)
    assert len(told["images"]) == 5
    assert all(Image.open(file).size == (128, 128) for file in told["images"])
    assert is_held_out(Identity.from_dict(told["identity"]))
    assert booth_cli("world", "subject", "glasses", "--out", "pair").exit_code == 2
    assert booth_cli("world", "subject", "submarine", "--out", "other").exit_code == 2


def test_world_score_prints_what_the_judges_found(booth_cli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"object": 0.5, "scene": 0.25, "colour": 1.0, "joint": 0.125, "pictures": 8}
    found |= {"accessory": 0.75, "empty": 1.0, "sharpness": 0.9, "judge_errors": {"object": 0.04}}
    asked: list[tuple] = []

    def judge(*words: object) -> dict:
        asked.append(words)
        return found

    monkeypatch.setattr("booth.world.score.score", judge)
    assert last_object(booth_cli("world", "score", "--pictures", 8, "--seed", 3, "--json")) == found
    assert asked == [("embedded", 8, 3)]
    told = booth_cli("world", "score").stdout
    assert " 12.5 %" in told
    assert "object     50.0 %   (of renders  96.0 %)" in told, "no drawing can be judged better than a render is"


def test_a_prompt_card_is_not_drawn_on_another_base(booth_cli, lora: Concept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "base_hash", lambda folder: "sha256:another")
    result = booth_cli("prompt-card", lora.folder, "--photos", "photos")
    assert (result.exit_code, "was taught to another base" in result.stderr) == (2, True)

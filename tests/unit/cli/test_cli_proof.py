"""evaluate, compare, taste and recommend on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from told import last_object

from booth.concept import Concept
from booth.registry import ENCODERS


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only encoder is that of colours, and drawing is free."""
    from booth.evaluate import pictures
    from booth.train import samples

    def draw(model: Any, prompts: list[str], seeds: list[int], **_: Any) -> list[Image.Image]:
        return [Image.new("RGB", (32, 32), (s % 256, 90, len(p) % 256)) for p, s in zip(prompts, seeds, strict=True)]

    monkeypatch.setattr(pictures, "draw", draw)
    monkeypatch.setattr(samples, "draw", draw)
    monkeypatch.setattr(ENCODERS, "_entries", {"planes": "planes:Planes"})


@pytest.mark.essential
def test_evaluate_writes_its_files_and_tells_them(booth_cli, lora: Concept) -> None:
    result = booth_cli("evaluate", lora.folder, "--quick", "--json", "--encoder", "planes", "--drift", 2)
    assert result.exit_code == 0, result.stderr
    told = last_object(result)
    assert {"metrics", "base", "verdicts", "encoders", "report"} <= told.keys()
    assert told["encoders"]["planes"]["weights"] == "sha256:none"
    assert Path(told["report"]) == Path("evaluations") / lora.folder.name / "report.html"
    assert all(Path(told["report"]).with_name(n).is_file() for n in ("evaluation.json", "evaluation.csv"))
    assert told["verdicts"][0]["sentence"] in result.stderr
    again = booth_cli("evaluate", lora.folder, "--quick", "--drift", 2)
    assert Path(again.stdout.strip()) == Path(told["report"]).with_name("report-2.html"), "the first one stays"


def test_several_concepts_are_pooled(booth_cli, lora: Concept, word: Concept) -> None:
    told = last_object(booth_cli("evaluate", lora.folder, word.folder, "--quick", "--drift", 2, "--out", "o", "--json"))
    assert [e["subject"]["token"] for e in told["evaluations"]] == ["sks", "zwx"]
    assert told["pooled"]["subject_similarity/planes"]["subjects"] == 2
    assert Path("o", word.folder.name, "report.html").is_file()
    assert booth_cli("evaluate", lora.folder, word.folder, "--photos", lora.folder).exit_code == 2


def test_two_concepts_of_one_name_do_not_overwrite_each_other(booth_cli, lora: Concept) -> None:
    told = last_object(booth_cli("evaluate", lora.folder, lora.folder, "--quick", "--drift", 2, "--json"))
    assert told["exit_code"] == 2
    assert f"called {lora.record.name}" in told["error"]


def test_concepts_that_are_used_together_are_measured_for_bleeding(booth_cli, lora: Concept, word: Concept) -> None:
    words = ["evaluate", lora.folder, "--with", f"{word.folder}", "--quick", "--drift", 2, "--json"]
    told = last_object(booth_cli(*words, "--with", f"{lora.folder}:0.5"))
    assert told["exit_code"] == 2  # one token twice
    told = last_object(booth_cli(*words))
    assert told["with"] == [word.record.name]
    assert {f"bleeding{part}/planes" for part in ("", "/other", "/together")} <= told["metrics"].keys()
    assert told["metrics"]["bleeding/planes"]["value"] == 0  # what is drawn here depends on prompt and seed alone
    assert set(told["metrics"]["bleeding/planes"]["subjects"]) == {"sks dog", "zwx dog"}
    assert told["verdicts"][-1]["kind"] == "apart"
    page = Path(told["report"]).read_text(encoding="utf-8")
    assert "Used together" in page
    assert "its concept alone" in page
    assert booth_cli("evaluate", lora.folder, word.folder, "--with", word.folder).exit_code == 2


def test_evaluate_tells_bad_input_in_one_sentence(booth_cli, lora: Concept, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a dog\n")
    result = booth_cli("evaluate", lora.folder, "--prompts", prompts, "--json")
    assert (result.exit_code, last_object(result)["exit_code"]) == (65, 65)
    assert "has no {}" in result.stderr
    assert booth_cli("evaluate", lora.folder, "--encoder", "clipp").exit_code == 2
    assert booth_cli("evaluate", tmp_path).exit_code == 65
    later = json.loads((lora.folder / "concept.json").read_text()) | {"schema_version": 99}
    from booth.core.commit import committed

    with committed(tmp_path / "later", {"kind": "concept"}) as folder:
        (folder / "concept.json").write_text(json.dumps(later))
    result = booth_cli("evaluate", tmp_path / "later")
    assert result.exit_code == 65
    assert "schema version 99" in result.stderr


@pytest.mark.essential
def test_compare_and_taste(booth_cli, toy_base: Path, five_photos: Path) -> None:
    words = ["compare", five_photos, "--class", "dog", "--base", toy_base, "--quick", "--steps", 1, "--json"]
    result = booth_cli(*words, "--method", "lora", "--method", "textual_inversion", "--set", "lora.rank=2")
    assert result.exit_code == 0, result.stderr
    told = last_object(result)
    assert told["verdict"]
    assert set(told["methods"]) == {"lora", "textual_inversion"}
    assert told["plan"]["settings"] == {"lora": {"rank": 2}}
    again = booth_cli("compare", "--report", "--json")
    assert last_object(again)["verdict"] == told["verdict"]
    from typer.testing import CliRunner

    from booth.cli.app import app

    tasted = CliRunner().invoke(app, ["taste", "race", "--pairs", "3", "--json"], input="l\nwhat\nr\n=\n")
    assert tasted.exit_code == 0, tasted.stderr
    assert len(last_object(tasted)["choices"]) == 3
    assert "lora" not in tasted.stderr
    assert len(last_object(booth_cli("taste", "race", "--pairs", 0, "--json"))["ranks"]) == 2


def test_compare_asks_for_what_is_missing(booth_cli, five_photos: Path) -> None:
    assert "--class" in booth_cli("compare", five_photos).stderr
    words = ["compare", five_photos, "--class", "dog"]
    assert "one budget" in booth_cli(*words, "--steps", 3, "--seconds", 4).stderr
    assert "--until done" in booth_cli(*words, "--until", "forever").stderr
    assert "names no method" in booth_cli(*words, "--set", "rank=3").stderr
    assert booth_cli("compare", "--report").exit_code == 65


def test_recommend_prints_a_command_with_reasons(booth_cli, toy_base: Path, five_photos: Path) -> None:
    words = ["recommend", five_photos, "--class", "dog", "--base", toy_base]
    told = last_object(booth_cli(*words, "--no-quote", "--json"))
    assert told["command"].startswith("booth train ")
    assert all(reason["source"] for reason in told["reasons"])
    assert told["photos"]["count"] == 5
    assert told["estimate"] is None
    result = booth_cli(*words, "--minutes", 0)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("booth train ")
    assert " ± " in result.stdout
    assert "0 minutes" in result.stdout

"""A whole evaluation on the toy base, with untrained judges and tiny public encoders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from booth.concept import Concept
from booth.core.cancel import CancelToken
from booth.core.concept import SubjectRecord
from booth.core.encoder import content_of
from booth.core.errors import BadDataError, Cancelled, UsageError
from booth.core.method import Subject
from booth.evaluate import pictures
from booth.evaluate.encoders import load_encoders
from booth.evaluate.protocol import Protocol, make_protocol
from booth.evaluate.report.files import write_files
from booth.evaluate.rows import Untouched
from booth.evaluate.run import Evaluation, advice, concept_evidence, evaluate, find_photos, require_class
from booth.events import Event
from booth.families.loading import load_family
from booth.generate.concepts import Applied
from booth.registry import METRICS
from booth.world.judges import Verdict

PROTOCOL = Protocol(("a {} in the snow", "a red {}"), "file", (0, 1), drift=3, steps=1)
HEARD: list[Event] = []  # of the evaluation that the tests share


@pytest.fixture(scope="module")
def evaluated(
    lora: Concept, hub_folders: Any, judges_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Evaluation, Path]]:
    """One evaluation, after which nothing can be drawn."""
    folder = tmp_path_factory.mktemp("evaluation")

    def draw(*_: Any, **__: Any) -> None:
        raise AssertionError("drawn twice")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.snapshot_download", lambda name, local_files_only: str(hub_folders[name]))
        patch.setattr("booth.world.judges.FOLDER", judges_folder)
        patch.setenv("BOOTH_CACHE", str(folder / "cache"))
        found = evaluate(lora, PROTOCOL, folder / "pictures", any_class=True, listeners=[HEARD.append])
        patch.setattr(pictures, "draw", draw)
        yield found, folder


@pytest.mark.essential
def test_an_evaluation_holds_the_concept_beside_its_references(evaluated: tuple[Evaluation, Path]) -> None:
    evaluation, folder = evaluated
    told = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert {"metrics", "base", "image_only", "prompt_only", "verdicts", "encoders", "protocol"} <= told.keys()
    measured = {name.split("/")[0] for name in told["metrics"]}
    assert measured | {name.split("/")[0] for name in told["refused"]} == set(METRICS)
    assert set(METRICS) - measured == {"lookalikes", "frechet", "bleeding", "lpips"}
    assert "2,000" in next(reason for name, reason in told["refused"].items() if name.startswith("frechet"))
    for name, number in told["metrics"].items():
        kind = METRICS[number["metric"]]
        assert kind.range[0] - 1e-5 <= number["value"] <= kind.range[1] + 1e-5, name
        assert (number["encoder"] in told["encoders"]) == (kind.role is not None)
        if number["low"] is not None and number["units"]:
            assert number["low"] <= number["value"] + 1e-6
            assert number["value"] <= number["high"] + 1e-6
    assert told["base"]["subject_similarity/dino-vits16"]["value"] != pytest.approx(
        told["metrics"]["subject_similarity/dino-vits16"]["value"], abs=1e-7
    )
    assert told["metrics"]["cost/bytes"]["value"] == evaluation.concept.record.artifact_bytes
    assert told["protocol"]["seeds"] == [0, 1]
    assert told["references"].startswith("training photos")
    assert told["masks"] == {"painted": 0, "by": "what stands out"}
    assert told["with"] == []
    assert told["verdicts"]
    again = evaluate(evaluation.concept, PROTOCOL, folder / "pictures", any_class=True)
    assert again.to_json()["metrics"] == evaluation.to_json()["metrics"]
    other = Protocol(PROTOCOL.templates, "file", (0,), drift=3, steps=1)
    with pytest.raises(AssertionError, match="drawn twice"):
        evaluate(evaluation.concept, other, folder / "pictures", any_class=True)


def test_an_evaluation_tells_how_far_it_is(evaluated: tuple[Evaluation, Path]) -> None:
    evaluation, _ = evaluated
    last: dict[str, tuple[int, int | None]] = {}
    for event in HEARD:
        if event.kind == "progress":
            assert event.total is None or event.done <= event.total
            last[event.phase] = (event.done, event.total)
    pictures = len(evaluation.protocol.rows(Subject("sks", "dog"))) + 2 * evaluation.protocol.drift
    assert last["drawing"] == (pictures, pictures)
    assert last["measuring"] == (4 * len(METRICS),) * 2  # the concept, the base, photos alone and prompts alone
    assert "loading" in {event.phase for event in HEARD if event.kind == "phase"}


def test_an_evaluation_is_cancelled_between_scorings(evaluated: tuple[Evaluation, Path]) -> None:
    evaluation, folder = evaluated
    cancel, scored = CancelToken(), []

    def listen(event: Event) -> None:
        if (event.kind, event.phase) == ("progress", "measuring"):
            scored.append(event.done)
            cancel.cancel("That is enough.")

    with pytest.raises(Cancelled, match="enough"):
        evaluate(evaluation.concept, PROTOCOL, folder / "pictures", any_class=True, listeners=[listen], cancel=cancel)
    assert scored == [1]


def test_the_files_say_the_same(evaluated: tuple[Evaluation, Path]) -> None:
    evaluation, folder = evaluated
    shown = write_files(evaluation, folder).read_text(encoding="utf-8")
    told = json.loads((folder / "evaluation.json").read_text())
    assert told["metrics"].keys() == evaluation.to_json()["metrics"].keys()
    lines = (folder / "evaluation.csv").read_text().splitlines()
    assert len(lines) - 1 == sum(len(m.scores) for m in evaluation.measured.values())
    assert lines[0] == "row,metric,part,encoder,value,low,high"
    for verdict in evaluation.verdicts:
        assert verdict.sentence.split("(")[0].replace('"', "&quot;").replace("'", "&#x27;") in shown
    assert "DINO (dino-vits16)" in shown
    assert "CLIP-T, token dropped (clip-vit-base-patch32)" in shown
    assert "training photo" in shown
    assert "http" not in shown
    assert not list(folder.glob("*.tmp-*"))


def test_photos_that_were_not_learned_from_are_the_references(lora: Concept, five_photos: Path, tmp_path: Path) -> None:
    assert not find_photos(lora, []).held_out
    assert len(find_photos(lora, []).references) == 5
    more = shutil.copytree(five_photos, tmp_path / "more")
    for i in range(2):
        Image.effect_noise((40, 40), 20 + i).convert("RGB").save(more / f"new{i}.png")
    found = find_photos(lora, [more])
    assert found.held_out
    assert (len(found.training), len(found.references)) == (5, 2)


def test_photos_of_several_subjects_are_kept_apart(lora: Concept) -> None:
    subject = lora.record.subject.model_copy(update={"others": [SubjectRecord(token="zwx", noun="cat")]})
    data = lora.record.data | {"photos_each": [3, 2]}
    both = Concept(lora.folder, lora.record.model_copy(update={"subject": subject, "data": data}))
    first, second = (find_photos(both, [], which=i) for i in range(2))
    assert [len(p.training) for p in (first, second)] == [3, 2]
    photos = [content_of(p) for found in (first, second) for p in found.training]
    assert photos == [content_of(p) for p in find_photos(lora, []).training]
    everything = find_photos(both, [Path(lora.record.photo_files[0]).parent])
    assert len(everything.references) == 3
    assert not everything.held_out  # the other subject's photos are no references of this one


def test_bad_references_are_one_clear_error(lora: Concept, five_photos: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(five_photos / "0.png", one)
    with pytest.raises(BadDataError, match=r"1 reference photo is too few.*`photos`"):
        find_photos(lora, [one])
    cats = shutil.copytree(five_photos, tmp_path / "10_sks cat")
    with pytest.raises(BadDataError, match=r"of a cat.*is a dog"):
        find_photos(lora, [cats])
    moved = Concept(lora.folder, lora.record.model_copy(update={"photo_files": [str(tmp_path / "gone.png")]}))
    with pytest.raises(BadDataError, match="`photos`"):
        find_photos(moved, [])


def test_references_of_another_class_are_refused(
    lora: Concept, world_judges: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders, photos = load_encoders(["world-judges"]), find_photos(lora, [])

    def see(*objects: tuple[str, ...]) -> None:
        rows = [Verdict(o, "snow", "none", "none") for o in objects]
        monkeypatch.setattr(type(encoders[0]), "verdicts", lambda *_: rows)

    see(("cat",), ("cat",))
    with pytest.raises(BadDataError, match=r"show a cat.*is a dog.*`any_class`"):
        require_class(encoders, photos, "dog")
    require_class(encoders, photos, "spaceship")  # a noun that the judges do not know
    see(("cat", "dog"), ("cat",))
    require_class(encoders, photos, "dog")
    see(("cat",), ("car",))
    require_class(encoders, photos, "dog")


def test_an_unknown_metric_is_named(lora: Concept, hub: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'cmmd'"):
        evaluate(lora, PROTOCOL, tmp_path, metrics=["cmd"], any_class=True)


def test_a_style_is_drawn_with_the_prompts_of_styles(
    lora: Concept, toy_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def draw(model: Any, prompts: list[str], seeds: list[int], **_: Any) -> list[Image.Image]:
        asked.extend(prompts)
        return [Image.new("RGB", (32, 32)) for _ in prompts]

    monkeypatch.setattr(pictures, "draw", draw)
    taught = SubjectRecord(token="sks", noun="style", kind="style")
    style = Concept(lora.folder, lora.record.model_copy(update={"subject": taught}))
    with pytest.raises(UsageError, match=r"sks style is a style.*`companions`"):
        evaluate(style, PROTOCOL, tmp_path, companions=[Applied(lora)])
    protocol = make_protocol("style", kind="style", quick=True)
    photos = find_photos(lora, [])
    concept_evidence(load_family(str(toy_base)), style, protocol, tmp_path, Untouched([], [], [], []), photos)
    assert "a picture of a dog in sks style" in asked
    assert asked.count("a picture") == protocol.drift


def test_the_worlds_judge_speaks_with_a_caution(lora: Concept, world_judges: Path, hub: Any) -> None:
    photos = find_photos(lora, [])
    world, public = load_encoders(["world-identity"]), load_encoders(["dino-vits16"])
    tiny, full = (advice(photos, world, scale)[0] for scale in ("tiny", "full"))
    assert "trained on its drawings alone" in tiny
    assert "hf download" not in tiny
    assert full.startswith(tiny)
    assert "hf download facebook/dino-vits16" in full
    assert not any("drawings" in sentence for sentence in advice(photos, public, "full"))

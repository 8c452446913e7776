"""The studio's jobs through its HTTP interface, each run for real on a tiny base: what is asked for is what is done.

The commands run in the test's own process, which has the libraries loaded; that a job is a process of its own is tested
where jobs are, and in the browser.
"""

from __future__ import annotations

import html
import io
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw
from typer.testing import CliRunner
from web_client import PORT, TOKEN, png, raw

from booth.catalogue import describe_encoders
from booth.cli.app import app
from booth.compare.summary import COLUMNS
from booth.core.commit import verify
from booth.core.words import size
from booth.events import read_events
from booth.registry import ENCODERS
from booth.train.update import Update
from booth.web import catalogue, forecast, starts
from booth.web.app import create_app
from booth.web.commands import command_of
from booth.web.describe import describe
from booth.web.home import Home
from booth.web.jobs import Job
from booth.web.messages import LANGUAGE, Words
from booth.web.pages import concepts, plan, wall
from booth.web.plans import still_the_same
from booth.web.safety import MARK, Door
from booth.web.studio import Studio, open_studio

pytestmark = pytest.mark.xdist_group("whole way")  # one training serves all of them, in the order of this file

STEPS = 4
Place = Callable[..., Any]


class Whole:
    """A studio, a browser on it, and one who does its jobs at once."""

    def __init__(self, home: Home, base: Path) -> None:
        self.home, self.base = home, str(base)
        self.studio: Studio = open_studio(home, Door(TOKEN, PORT))
        self.studio.keeper.after["train"] = lambda job: wall.after_training(self.studio, job)
        self.studio.keeper.after["forecast"] = lambda job: plan.remember(self.studio, job)
        self.studio.keeper.checks["export"] = lambda job, result: concepts.exported(self.studio, job, result)
        self.client = TestClient(create_app(self.studio), base_url=f"http://127.0.0.1:{PORT}", follow_redirects=False)
        self.client.cookies.set(self.studio.door.cookie, TOKEN)
        self.client.headers[MARK] = "1"

    def ask(self, place: str) -> Any:
        """What is told there."""
        answer = self.client.get(place)
        assert answer.status_code == 200, (place, answer.text[:300])
        return answer.json() if answer.headers["content-type"] == "application/json" else answer.text

    def post(self, place: str, **wish: Any) -> Any:
        """A change that succeeds."""
        answer = self.client.post(place, json=wish)
        assert answer.status_code < 300, (place, answer.text[:300])
        return answer.json()

    def do(self, key: str) -> Job:
        """Run a job's command to its end, and have it judged by what it left."""
        job = self.studio.library.get(key)
        assert job is not None
        folder = self.studio.library.folder(job)
        with chdir(self.home.root):
            if job.module == "booth":
                told = CliRunner().invoke(app, job.words)
                code, said = told.exit_code, told.stdout
                folder.stderr.write_text(told.stderr)
            else:
                with redirect_stdout(io.StringIO()) as out:
                    code = forecast.main(list(job.argv))
                said = out.getvalue()
        folder.stdout.write_text(said)
        self.studio.keeper._finish(job, code)
        found = self.studio.library.get(key)
        assert found is not None
        return found

    def done(self, key: str) -> Job:
        """The same, of one that must succeed."""
        job = self.do(key)
        assert job.state == "done", (job.reason, job.command)
        return job

    def queued(self, kind: str) -> str:
        """The one that waits, of a kind."""
        (job,) = [j for j in self.studio.library.queued() if j.kind == kind]
        return job.id

    def photos(self, count: int = 4) -> str:
        """A set of photos."""
        key = self.post("/api/photos", name="thing")["id"]
        for seed in range(count):
            answer = self.client.put(f"/api/photos/{key}/upload?name=photo-{seed}", **raw(png(64, seed)))  # type: ignore[arg-type]
            assert answer.status_code == 201
        return key

    def plan(self, **more: Any) -> dict[str, Any]:
        """What the page of a plan sends."""
        run = {"previews": 2, "preview_seeds": 2, "checkpoint_every": 2} | more.pop("run", {})
        settings = {"steps": STEPS, "rank": 2} | more.pop("settings", {})
        return {"noun": "dog", "base": self.base, "run": run, "settings": settings} | more


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, toy_base: Path) -> Iterator[Whole]:
    home = Home(tmp_path_factory.mktemp("whole") / "home")
    home.root.mkdir()
    home.make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOOTH_CACHE", str(home.root.parent / "cache"))
        patch.setenv("COLUMNS", "200")
        told = {"encoders": describe_encoders()}
        told["encoders"][-1] |= {"missing": "It is not installed.", "advice": "Install it with `pip install it`."}
        patch.setattr(
            catalogue, "_made", lambda *what: json.loads(json.dumps(told if what else describe(), default=str))
        )
        found = Whole(home, toy_base)
        yield found
        found.studio.library.close()


@pytest.fixture(scope="module")
def photo_set(whole: Whole) -> str:
    return whole.photos()


@pytest.fixture(scope="module")
def trained(whole: Whole, photo_set: str) -> Job:
    """A training that was interrupted in its third step, and went on."""
    key = whole.post(f"/api/plan/{photo_set}", **whole.plan())["id"]
    taken = Update.step

    def interrupted(self: Update, *args: Any, **kwargs: Any) -> Any:
        interrupted.count += 1  # type: ignore[attr-defined]
        if interrupted.count == 3:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return taken(self, *args, **kwargs)

    interrupted.count = 0  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Update, "step", interrupted)
        job = whole.do(key)
    assert job.state == "paused"
    whole.post(f"/api/jobs/{key}", action="resume")
    return whole.done(key)


@pytest.mark.essential
def test_a_training_goes_on_where_it_was(whole: Whole, trained: Job) -> None:
    assert "--resume" in trained.words
    run = whole.ask(f"/api/runs/{whole.ask(f'/api/jobs/{trained.id}')['run']}")
    assert run["state"] == "done"
    assert f"Writing the concept {trained.about['out']}." in [line["text"] for line in run["log"]]
    assert [step for step, _ in run["losses"]] == list(range(1, STEPS + 1))
    events = read_events(whole.home.root / trained.about["out"] / "run" / "events.jsonl")
    assert [e.done for e in events if e.kind == "plan"] == [0, 2]


def test_a_run_of_the_command_line_shows_the_command_that_does_the_same(whole: Whole, trained: Job) -> None:
    place = whole.studio.places.of(whole.home.root / trained.about["out"])
    command = command_of(place.frozen()["configuration"], whole.home, place.out)
    assert f"--set=steps={STEPS}" in command
    assert command.replace(" --json", "").split(" -- ")[1] == trained.about["photos"]
    for word in trained.argv[1:-3]:
        assert word in command, word
    folder = whole.studio.library.folder(trained)
    hidden = folder.path.with_name("hidden")
    os.replace(folder.path, hidden)  # as if the studio had not started it
    whole.studio.library.rebuild()
    try:
        assert "booth train --class=dog" in whole.ask(f"/runs/{place.id}")
    finally:
        os.replace(hidden, folder.path)
        whole.studio.library.rebuild()


def test_the_wall_follows_with_several_seeds_of_each_prompt(whole: Whole, trained: Job) -> None:
    concept = whole.ask(f"/api/jobs/{trained.id}")["concept"]
    assert "state" in whole.ask(f"/api/wall/{concept}")["job"]
    whole.done(whole.queued("wall"))
    told = whole.ask(f"/api/wall/{concept}")["wall"]
    assert told["prompts"][0] == told["prompts"][1] != told["prompts"][2]
    assert told["seeds"][:4] == [0, 4, 1, 5]
    assert [row["step"] for row in told["rows"]] == [None, 2, 4]
    shown = whole.ask(f"/wall/{concept}")
    assert shown.count('colspan="2"') == 4
    assert re.search(r"Step \d is the best", shown)
    for row, column in ((0, 0), (1, 7), (2, 3)):
        assert whole.client.get(f"/media/walls/{concept}/{row}/{column}").headers["content-type"] == "image/png"


def test_what_scores_is_chosen_from_the_registry(whole: Whole, trained: Job) -> None:
    """What is not installed is shown with what to do, and taken from nobody."""
    shown = html.unescape(whole.ask("/encoders"))
    boxes = dict(re.findall(r'<input type="checkbox" data-encoder value="([^"]+)"([^>]*)>', shown))
    assert list(boxes) == list(ENCODERS)
    last = list(ENCODERS)[-1]
    assert [name for name, more in boxes.items() if "disabled" in more] == [
        each["name"] for each in catalogue._made("encoders")["encoders"] if each["missing"]
    ]
    assert "disabled" in boxes[last]
    assert "It is not installed. Install it with `pip install it`." in shown
    whole.client.cookies.set(LANGUAGE, "de")
    assert "der Identitätsgutachter der Welt" in whole.ask("/encoders")
    whole.client.cookies.delete(LANGUAGE)
    concept = whole.ask(f"/api/jobs/{trained.id}")["concept"]
    wrong = {"nobody": (400, "name.unknown"), last: (409, "encoder.not_here")}
    for place in (f"/api/wall/{concept}", f"/api/concepts/{concept}/evaluate"):
        for name, (status, code) in wrong.items():
            answer = whole.client.post(place, json={"encoders": [name]})
            assert answer.status_code == status, answer.text
            assert [(p["field"], p["code"]) for p in answer.json()["problems"]] == [("encoders", code)]
    answer = whole.client.post(f"/api/concepts/{concept}/evaluate", json={"encoders": ["world-agreement"]})
    assert answer.json()["problems"][0]["code"] == "encoder.compares_nothing"


def test_a_wall_is_measured_again_by_what_is_chosen(whole: Whole, trained: Job) -> None:
    concept = whole.ask(f"/api/jobs/{trained.id}")["concept"]
    before = whole.ask(f"/api/wall/{concept}")["wall"]
    assert before["called"] == []
    job = whole.done(whole.post(f"/api/wall/{concept}", encoders=["world-identity", "world-agreement"])["id"])
    assert "--encoder=world-identity --encoder=world-agreement" in job.command
    told = whole.ask(f"/api/wall/{concept}")["wall"]
    assert told["encoders"] == {"subject": "world-identity", "prompt": "world-agreement"}
    assert "--encoder=world-identity --encoder=world-agreement" in whole.ask(f"/wall/{concept}")
    assert told["rows"] == before["rows"], "they are those that are used unnamed here"
    job = whole.done(whole.post(f"/api/concepts/{concept}/evaluate", encoders=["world-identity"])["id"])
    assert "--encoder=world-identity" in job.command
    (told,) = (whole.studio.library.folder(j).result() for j in [job])
    assert told is not None
    assert list(told["encoders"]) == ["world-identity"]


def test_an_earlier_checkpoint_is_kept_renamed_deleted_and_back(whole: Whole, trained: Job) -> None:
    concept = whole.ask(f"/api/jobs/{trained.id}")["concept"]
    kept = whole.done(whole.post(f"/api/wall/{concept}/keep", step=2)["id"])
    assert verify(whole.home.root / kept.about["out"])
    listed = {c["name"]: c["id"] for c in whole.ask("/api/concepts")["concepts"]}
    go = whole.post(f"/api/concepts/{listed[kept.about['title']]}/name", name="earlier rex")["go"]
    key = go.rsplit("/", 1)[1]
    assert "earlier rex" in whole.ask(go)
    undo = whole.client.delete(f"/api/concepts/{key}").json()["undo"]
    assert whole.client.get(go).status_code == 404
    assert whole.post(f"/api/concepts/restore/{undo}")["go"] == go
    assert "earlier rex" in whole.ask(go)


def test_the_same_again_with_changes(whole: Whole, trained: Job, photo_set: str) -> None:
    answer = whole.client.get(f"/plan/again/{trained.id}")
    assert answer.headers["location"] == f"/plan/{photo_set}?like={trained.id}"
    shown = whole.ask(answer.headers["location"])
    assert f'value="{whole.base}"' in shown
    assert 'value="dog"' in shown
    fields = whole.ask(f"/plan/{photo_set}/methods?like={trained.id}&base={whole.base}")
    assert "&#34;preview_seeds&#34;: 2" in fields
    other = whole.post(f"/api/plan/{photo_set}", **whole.plan(settings={"steps": 2}, run={"previews": 0}))
    assert other["about"]["out"] != trained.about["out"]
    assert whole.done(other["id"]).about["steps"] == 2


def test_two_subjects_in_one_run(whole: Whole, photo_set: str) -> None:
    other = whole.photos(2)
    also = [{"set": other, "token": "zwx", "noun": "cat"}]
    job = whole.done(
        whole.post(f"/api/plan/{photo_set}", **whole.plan(also=also, run={"previews": 0}, settings={"steps": 1}))["id"]
    )
    record = json.loads((whole.home.root / job.about["out"] / "concept.json").read_text())
    assert [o["noun"] for o in record["subject"]["others"]] == ["cat"]
    assert 'value="zwx"' in whole.ask(f"/plan/{photo_set}?like={job.id}")


def form_of(page: str) -> dict[str, Any]:
    """The fields that a plan's page is made of."""
    found = re.search(r'id="form">(.*?)</div>', page, re.DOTALL)
    assert found is not None
    return json.loads(html.unescape(found[1]))


def test_a_training_goes_on_from_a_concept(whole: Whole, trained: Job, photo_set: str) -> None:
    concept = whole.ask(f"/api/jobs/{trained.id}")["concept"]
    assert f"/plan/{photo_set}?start_from={concept}" in whole.ask(f"/concepts/{concept}")
    page = whole.ask(f"/plan/{photo_set}?start_from={concept}")
    assert re.search(rf'<option value="{concept}"[^>]* selected', page)
    assert f'name="base" list="bases" maxlength="300" value="{whole.base}"' in page
    page = whole.ask(f"/plan/{photo_set}/methods?base={whole.base}&start_from={concept}")
    cards = set(re.findall(r'data-method="(\w+)"', page))
    assert {"lora", "locon", "two_stage"} <= cards
    assert not {"textual_inversion", "dreambooth", "loha", "controlnet"} & cards
    ranks = {
        m: next(f["default"] for f in form_of(page)["settings"][m] if f["name"] == "rank") for m in ("lora", "locon")
    }
    assert ranks == {"lora": 2, "locon": 2}

    plan = whole.plan(start_from=concept, run={"previews": 0}, settings={"steps": 1})
    job = whole.done(whole.post(f"/api/plan/{photo_set}", **plan)["id"])
    assert f"--start-from={trained.about['out']}" in job.argv
    assert "rank" not in job.command  # which the concept says
    record = json.loads((whole.home.root / job.about["out"] / "concept.json").read_text())
    assert (record["settings"]["rank"], record["steps"]) == (2, 1)
    assert record["data"]["start_from"]["name"].endswith(trained.about["out"])
    place = whole.studio.places.of(whole.home.root / job.about["out"])
    again = shlex.split(command_of(place.frozen()["configuration"], whole.home, place.out))
    assert {f"--start-from={trained.about['out']}", f"--base={whole.base}", "--kind=subject"} <= set(again)
    shown = whole.ask(f"/plan/{photo_set}?like={job.id}")
    assert re.search(rf'<option value="{concept}"[^>]* selected', shown)


def test_what_cannot_be_gone_on_from_is_refused_before_the_queue(whole: Whole, trained: Job, photo_set: str) -> None:
    concept = whole.ask(f"/api/jobs/{trained.id}")["concept"]
    waiting = len(whole.studio.library.queued())

    def refused(field: str, word: str, german: str, **plan: Any) -> None:
        for language, expected in (("en", word), ("de", german)):
            told = whole.client.post(
                f"/api/plan/{photo_set}", json=whole.plan(**plan), headers={"accept-language": language}
            )
            assert told.status_code == 400, told.text
            assert [p["field"] for p in told.json()["problems"]] == [field]
            assert expected in told.json()["error"]

    refused("start_from", "every method begins anew", "jede Methode neu", start_from=concept, race=True)
    refused("methods", "with textual_inversion", "mit textual_inversion", start_from=concept,
            methods=["textual_inversion"], settings={})  # fmt: skip
    refused("start_from", "is gone", "ist weg", start_from="0123456789ab")
    assert whole.client.get(f"/plan/{photo_set}/methods?start_from=0123456789ab").status_code == 404
    assert len(whole.studio.library.queued()) == waiting


def test_a_concept_that_changed_while_the_run_waited_is_told_of(whole: Whole, trained: Job) -> None:
    place = whole.studio.places.of(whole.home.root / trained.about["out"])
    start = starts.frozen(whole.home, place)
    for about, word in (
        (start, None), (start | {"sha256": "0"}, "was changed"), (start | {"concept": "concepts/gone"}, "is gone")
    ):  # fmt: skip
        problem = still_the_same(whole.home, replace(trained, about={"start": about}))
        assert (problem is None) if word is None else word in str(problem)


def test_advice_and_measured_costs(whole: Whole, photo_set: str) -> None:
    question = {"noun": "dog", "base": whole.base, "methods": ["lora"]}
    job = whole.post(f"/api/plan/{photo_set}/advice", **question)["job"]
    assert whole.post(f"/api/plan/{photo_set}/advice", **question)["job"] == job  # nobody measures the same twice
    whole.done(job)
    assert "±" in whole.ask(f"/plan/{photo_set}/methods?base={whole.base}")  # though no page waited for it
    told = whole.ask(f"/api/advice/{job}")
    assert told["advice"]["method"]
    assert told["advice"]["reasons"]
    assert told["token"]["token"] == "sks"
    (cost,) = told["costs"]
    assert cost["seconds"] > 0
    assert cost["disk"] == 27 * cost["artifact_bytes"] > 0  # nine checkpoints with the moments of AdamW
    shown = whole.ask(f"/plan/{photo_set}/methods?base={whole.base}")
    assert f'data-fact="disk">{size(cost["disk"])}<' in shown
    assert "±" in whole.ask(f"/plan/{photo_set}/methods?base={whole.base}")
    assert "±" not in whole.ask(f"/plan/{photo_set}/methods")  # of another base nothing is known


def test_a_race_and_a_blind_taste_test(whole: Whole, photo_set: str) -> None:
    plan = whole.plan(methods=["lora", "textual_inversion"], race=True, run={}, settings={"steps": 1})
    plan["settings"] = {"steps": 1}
    answer = whole.client.post(f"/api/plan/{photo_set}", json=plan | {"encoders": ["world-agreement"]})
    assert [(p["field"], p["code"]) for p in answer.json()["problems"]] == [("encoders", "encoder.compares_nothing")]
    judges = ["world-identity", "world-agreement", "world-judges"]
    job = whole.post(f"/api/plan/{photo_set}", **plan, encoders=judges)
    assert job["kind"] == "compare"
    assert " ".join(f"--encoder={name}" for name in judges) in job["command"]
    assert "textual_inversion" in job["command"]
    whole.done(job["id"])
    (race,) = whole.ask("/api/races")["races"]
    assert set(race["methods"]) == {"lora", "textual_inversion"}
    page = whole.ask(f"/compare/{race['id']}")
    assert "textual_inversion" in page
    assert '<th scope="col">Training time</th>' in page
    assert f"<th scope=\"col\">{Words('de')('metric.cost.bytes')}</th>" in whole.client.get(
        f"/compare/{race['id']}", headers={"accept-language": "de"}
    ).text  # fmt: skip
    assert all(Words("de").has(f"metric.{m}.{part}" if part else f"metric.{m}") for m, part in COLUMNS)
    assert whole.client.get(f"/media/races/{race['id']}/lora/0").headers["content-type"] == "image/png"
    assert race["id"] in whole.ask("/compare")
    pair = whole.post(f"/api/races/{race['id']}/pair")
    for side in ("left", "right"):
        assert whole.client.get(pair[side]).headers["content-type"] == "image/png"
    answer = whole.post(f"/api/races/{race['id']}/answer", pair=pair["pair"], winner="left")
    assert {answer["left"], answer["right"]} == {"lora", "textual_inversion"}
    assert answer["answers"] == 1
    assert answer["ranks"]
    again = whole.client.post(f"/api/races/{race['id']}/answer", json={"pair": pair["pair"], "winner": "left"})
    assert again.status_code == 404
    assert 'data-answers="1"' in whole.ask(f"/compare/{race['id']}/taste")


def sent(whole: Whole, image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "PNG")
    return whole.client.put("/api/draw/inputs", **raw(data.getvalue())).json()["id"]  # type: ignore[arg-type]


def test_drawing_over_a_picture_where_a_mask_is(whole: Whole, trained: Job) -> None:
    concept = whole.ask(f"/api/jobs/{trained.id}")["concept"]
    start = Image.new("RGB", (32, 32), (200, 30, 30))
    mask = Image.new("L", (32, 32), 0)
    ImageDraw.Draw(mask).rectangle((16, 0, 31, 31), fill=255)
    wish = {"prompt": "a photo of sks dog", "concepts": [{"id": concept, "strength": 0.7}], "count": 2, "steps": 2}
    wish |= {"start": sent(whole, start), "mask": sent(whole, mask), "strength": 0.9, "seed": 5}
    job = whole.done(whole.post("/api/draw", **wish)["id"])
    assert whole.ask(f"/api/draw/{job.id}")["count"] == 2
    picture = Image.open(io.BytesIO(whole.client.get(f"/media/drawings/{job.id}/1").content)).convert("RGB")
    left, right = picture.crop((0, 0, 12, 32)), picture.crop((20, 0, 32, 32))
    assert max(abs(a - b) for a, b in zip(left.resize((1, 1)).getpixel((0, 0)), (200, 30, 30), strict=True)) < 12  # type: ignore[arg-type]
    assert right.tobytes() != left.tobytes()
    page = whole.ask(f"/draw?like={job.id}")
    assert wish["start"] in page
    assert 'value="0.7"' in page


def test_a_scribble_that_a_control_net_follows(whole: Whole) -> None:
    scribble = Image.new("RGB", (64, 64))
    ImageDraw.Draw(scribble).ellipse((8, 8, 56, 56), outline=(255, 255, 255), width=3)
    wish = {"prompt": "a photo of a dog", "count": 1, "steps": 1, "size": 64}
    guides = [{"input": sent(whole, scribble), "kind": "canny", "strength": 1.0}]
    job = whole.done(whole.post("/api/draw", **wish, guides=guides)["id"])
    assert "--control-type=canny" in job.argv
    assert whole.client.get(f"/media/drawings/{job.id}/0").headers["content-type"] == "image/png"


def test_what_was_exported_is_imported(whole: Whole, trained: Job) -> None:
    concept = whole.ask(f"/api/jobs/{trained.id}")["concept"]
    job = whole.done(whole.post(f"/api/concepts/{concept}/export", to="kohya")["id"])
    data = whole.client.get(f"/media/exports/{job.id}").content
    assert len(data) > 1000
    assert "tensors match" in whole.ask(f"/concepts/{concept}")
    asked = f"/api/import?name=theirs.safetensors&noun=dog&token=sks&base={whole.base}"
    answer = whole.client.put(asked, **raw(data))  # type: ignore[arg-type]
    assert answer.status_code == 201, answer.text
    whole.done(answer.json()["id"])
    names = [c["name"] for c in whole.ask("/api/concepts")["concepts"]]
    assert any("theirs" in name for name in names), names


def test_a_report_of_a_concept(whole: Whole, trained: Job) -> None:
    concept = whole.ask(f"/api/jobs/{trained.id}")["concept"]
    whole.done(whole.post(f"/api/concepts/{concept}/evaluate")["id"])
    assert 'class="note"' in whole.ask(f"/concepts/{concept}")

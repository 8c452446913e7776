"""Running a race: one folder, one JSON file a run; what exists is not run again, and a failure is a row."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from booth.compare.budget import settings_within
from booth.compare.course import Course, Race, prepared
from booth.concept import Concept
from booth.config import RunConfig
from booth.core.cancel import CancelToken
from booth.core.errors import BoothError, DiskFullError
from booth.core.json_values import Json
from booth.core.method import Subject
from booth.data.photos import load_photos
from booth.evaluate.measure import measure
from booth.evaluate.report.files import write_whole
from booth.evaluate.run import concept_evidence
from booth.events import Listener, Reporter, reporting
from booth.executor.job import Executor, Job, Resident, raise_failed
from booth.executor.spread import spread
from booth.registry import METHODS, METRICS
from booth.session import Session
from booth.train.folders import work_folder
from booth.train.identity import lasting_name
from booth.train.run import train

RUN, SETTINGS = "run.json", "settings.json"


def run_race(
    race: Race,
    *,
    listeners: Sequence[Listener] = (),
    cancel: CancelToken | None = None,
    session: Session | None = None,
    executor: Executor | None = None,
) -> None:
    """Run what has no result yet. Cancelled ends the race, whose command goes on with it; DiskFullError too.

    `listeners` hear each run begin and end, and what it tells; `cancel` is looked at in all of it. With an `executor`
    the runs are its workers', each of which holds a base; what the untouched base draws is drawn here.
    """
    for method in race.methods:
        _ = METHODS[method]  # before anything is run
    with ExitStack() as exits:
        reporter = exits.enter_context(reporting(listeners, cancel))
        own = session or exits.enter_context(Session(race.base, race.device))
        course = prepared(race, load_photos(list(race.photos)), own, reporter)
        left = list(_to_run(course.race, reporter))
        if executor is not None:
            if session is None:
                own.close()  # the workers hold one each
            _spread(course.race, left, executor, reporter)
            return
        for method, seed in left:
            _begin(method, seed, reporter)
            _tell(_entered(course, method, seed, own, reporter), reporter)


def enter(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Json]:
    """One entrant's run, a job of an executor; returns its result, which is written too."""
    race = TypeAdapter(Race).validate_python(arguments["race"])
    base = (race.base, race.device)
    session = resident.hold("base", base, lambda: Session(*base))
    with reporting([resident.on_event], resident.cancel) as reporter:
        key = json.dumps(arguments["race"], sort_keys=True)
        course = resident.hold("race", key, lambda: prepared(race, load_photos(list(race.photos)), session, reporter))
        return _entered(course, arguments["method"], arguments["seed"], session, reporter)


def _spread(race: Race, entrants: Sequence[tuple[str, int]], executor: Executor, reporter: Reporter) -> None:
    """The runs by workers, from wherever they are started."""
    here: dict[str, Any] = {"out": race.out.absolute(), "base": lasting_name(race.base)}
    here |= {name: [path.absolute() for path in getattr(race, name)] for name in ("photos", "held_out")}
    told: dict[str, Any] = TypeAdapter(Race).dump_python(replace(race, **here), mode="json")
    jobs = [
        Job(f"{method}-{seed}", "booth.compare.race:enter", {"race": told, "method": method, "seed": seed})
        for method, seed in entrants
    ]
    for outcome in spread(
        executor, jobs, reporter.cancel, lambda j: _begin(j.arguments["method"], j.arguments["seed"], reporter)
    ):
        raise_failed(outcome)
        _tell(outcome.result, reporter)


def _to_run(race: Race, reporter: Reporter) -> Iterator[tuple[str, int]]:
    """The entrants that have no result yet."""
    for method, seed in race.entrants():
        file = race.folder(method, seed) / RUN
        if file.is_file() and json.loads(file.read_text())["status"] == "done":
            about = {"method": method, "seed": seed, "text": f"{method} with seed {seed} is there already."}
            reporter.emit("run", **about, status="done")
        else:
            yield method, seed


def _begin(method: str, seed: int, reporter: Reporter) -> None:
    reporter.emit("run", method=method, seed=seed, status="begun", text=f"Now {method} with seed {seed}.")


def _tell(result: Mapping[str, Any], reporter: Reporter) -> None:
    """What came of a run."""
    about = {"method": result["method"], "seed": result["seed"]}
    if result["status"] == "failed":
        told = f"{about['method']} with seed {about['seed']} failed: {result['error']}"
        reporter.emit("run", "warning", **about, status="failed", text=told)
    else:
        reporter.emit("run", "debug", **about, status="done")


def _entered(course: Course, method: str, seed: int, session: Session, reporter: Reporter) -> dict[str, Any]:
    """One run's result, once it is written."""
    result = _attempt(course, method, seed, session, reporter)
    write_whole(course.race.folder(method, seed) / RUN, json.dumps(result, indent=1) + "\n")
    return result


def _attempt(course: Course, method: str, seed: int, session: Session, reporter: Reporter) -> dict[str, Any]:
    """One run's result. Whatever fails is told in it, but for a full disk, on which nothing else would succeed."""
    race = course.race
    about: dict[str, Any] = {"kind": "race run", "method": method, "seed": seed}
    try:
        concept = _teach(race, method, seed, session, reporter)
        folder = race.folder(method, seed)
        with session.model() as model:
            subject = Subject(race.token, race.noun, race.kind)
            reporter.begin("drawing", 0, len(race.protocol.rows(subject)) + 2 * race.protocol.drift)
            evidence = concept_evidence(model, concept, race.protocol, folder, course.untouched, course.photos)
        reporter.begin("measuring", 0, len(METRICS.usable()))
        measured = measure(evidence, course.encoders)
    except DiskFullError:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, BoothError) else traceback.format_exception_only(error)[-1].strip()
        return about | {"status": "failed", "error": reason}
    record = concept.record
    return about | {
        "status": "done",
        "settings": record.settings,
        "steps": record.steps,
        "seconds": record.seconds,
        "device": record.device,
        "versions": record.versions,
        "metrics": {name: score.to_json() for name, score in measured.scores.items()},
        "refused": measured.refused,
    }


def _teach(race: Race, method: str, seed: int, session: Session, reporter: Reporter) -> Concept:
    out = race.folder(method, seed) / "concept"
    fields = {
        "photos": list(race.photos),
        "noun": race.noun,
        "kind": race.kind,
        "token": race.token,
        "method": method,
        "base": race.base,
        "out": out,
        "seed": seed,
        "device": race.device,
        "settings": dict(race.settings.get(method, {})),
        "until": "done" if race.budget.until_done else "steps",
    }
    config = RunConfig.model_validate(fields)
    config = config.model_copy(update={"settings": _decided(race, config, session)})
    going_on = out.is_dir() or work_folder(out).is_dir()
    config = config.model_copy(update={"resume": going_on})
    return train(config, listeners=reporter.listeners, cancel=reporter.cancel, samples=False, session=session)


def _decided(race: Race, config: RunConfig, session: Session) -> dict[str, Any]:
    """The run's settings within the budget, decided once: a rehearsal would find other steps the next time."""
    file = race.folder(config.method, config.seed) / SETTINGS
    if not file.is_file():
        write_whole(file, json.dumps(settings_within(race.budget, config, session), indent=1) + "\n")
    return json.loads(file.read_text())

"""Running studies: arms are taught the same subjects with the same seeds and measured alike; what exists stays."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from booth import __version__
from booth.compare.experiment import PHOTOGRAPHS, Setting, Study
from booth.compare.study_attempt import attempt
from booth.compare.study_run import StudyRun, Where, claimed, is_there, load_named, runs_asked
from booth.compare.study_subject import study_subject
from booth.core.cancel import CancelToken
from booth.core.commit import package_versions
from booth.core.encoder import Encoder
from booth.core.errors import UsageError
from booth.core.json_values import Json
from booth.evaluate.encoders import load_encoders
from booth.evaluate.report.files import write_whole
from booth.events import Listener, Reporter, reporting
from booth.executor.job import Executor, Job, Resident, raise_failed
from booth.executor.spread import spread
from booth.session import Session
from booth.train.identity import lasting_name


def run_studies(
    studies: Sequence[Study],
    setting: Setting,
    *,
    results: Path,
    work: Path,
    photographs: Path | None,
    device: str,
    listeners: Sequence[Listener] = (),
    cancel: CancelToken | None = None,
    executor: Executor | None = None,
) -> None:
    """Run what has no result yet. Two processes may share the work; a run that another one holds is left to it.

    `listeners` hear each run begin and end, and what it tells; `cancel` is looked at in all of it. With an `executor`
    the runs are its workers', each of which holds a base.
    """
    with reporting(listeners, cancel) as reporter, Session(setting.base, device) as session:
        with session.model() as model:
            scale = model.scale
        about = {"base": session.hash, "setting": setting.model_dump(exclude={"arms"})}
        named = load_named([name for study in studies for name in study.encoders])  # before the work
        left = _to_run(studies, setting, results, about, scale, photographs)
        where = Where(results.absolute(), work.absolute(), photographs and photographs.absolute())
        if executor is not None:
            session.close()  # the workers hold one each
            _spread(list(left), setting, where, device, executor, reporter)
            return
        usual = load_encoders(scale=scale)
        for run in left:
            _do(run, setting, where, session, run.seen_by(usual, named), reporter)


def do(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Json]:
    """One run, a job of an executor; its result is written, and whether it was this worker that did it is returned."""
    setting = Setting.model_validate(arguments["setting"])
    base = (arguments["base"], arguments["device"])
    session = resident.hold("base", base, lambda: Session(*base))
    with reporting([resident.on_event], resident.cancel) as reporter:
        with session.model() as model:
            scale = model.scale
        run, where = StudyRun(**arguments["run"]), TypeAdapter(Where).validate_python(arguments["where"])
        usual = resident.hold("encoders", scale, lambda: load_encoders(scale=scale))
        named = resident.hold("named encoders", tuple(run.encoders), lambda: load_named(run.encoders))
        return _do(run, setting, where, session, run.seen_by(usual, named), reporter)


def _spread(
    runs: Sequence[StudyRun], setting: Setting, where: Where, device: str, executor: Executor, reporter: Reporter
) -> None:
    told: dict[str, Any] = {
        "setting": setting.model_dump(mode="json"),
        "base": lasting_name(setting.base),
        "where": TypeAdapter(Where).dump_python(where, mode="json"),
    }
    jobs = [
        Job(str(run.file(where.results)), "booth.compare.study:do", {**told, "run": asdict(run), "device": device})
        for run in {run.file(where.results): run for run in runs}.values()  # studies share runs
    ]
    for outcome in spread(
        executor, jobs, reporter.cancel, lambda job: StudyRun(**job.arguments["run"]).tell_begun(reporter)
    ):
        raise_failed(outcome)
        run = StudyRun(**outcome.job.arguments["run"])
        run.tell_ended(outcome.result, reporter)


def _to_run(
    studies: Sequence[Study],
    setting: Setting,
    results: Path,
    about: dict[str, Any],
    scale: str,
    photographs: Path | None,
) -> Iterator[StudyRun]:
    """What has no result yet, looked at when its turn comes: another process may have done it."""
    for run in runs_asked(studies):
        if is_there(run.file(results), setting.arms[run.arm], about, scale, run.encoders):
            continue
        if run.subject.startswith(PHOTOGRAPHS) and photographs is None:
            raise UsageError(
                f"{run.subject} is a folder of photographs.",
                "Say where it lies with `photos`.",
                code="study.photographs_unnamed",
                field="photos",
            )
        yield run


def _do(
    run: StudyRun,
    setting: Setting,
    where: Where,
    session: Session,
    encoders: Sequence[Encoder],
    reporter: Reporter,
) -> dict[str, Any]:
    """One run, which borrows the session's base while it trains and while it draws; {} where another process has it."""
    file, arm = run.file(where.results), setting.arms[run.arm]
    with claimed(where.work / file.parent.name / f"{run.arm}-{run.seed}") as folder:
        if folder is None:
            return {}
        run.tell_begun(reporter)
        subject = study_subject(run.subject, where.photographs, where.work)
        about = {"booth": __version__, **_revision(), "versions": package_versions(), "device": session.device}
        about |= {"threads": torch.get_num_threads(), "base": session.hash}
        about |= {"setting": setting.model_dump(exclude={"arms"})}
        result = {"subject": run.subject, "arm": {"name": run.arm, **arm.model_dump()}, "seed": run.seed, **about}
        result |= attempt(arm, subject, run.seed, setting, session, encoders, folder, reporter)
        write_whole(file, json.dumps(result, indent=1) + "\n")
        run.tell_ended(result, reporter)
        return {"status": result["status"], "error": result.get("error")}


def _revision() -> dict[str, Any]:
    """Commit and whether anything was changed since, where booth runs from its repository."""
    try:
        here = ["git", "-C", str(Path(__file__).parent)]
        commit = subprocess.run([*here, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*here, "status", "-s", "src"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(changed.stdout.strip())}

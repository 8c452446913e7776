"""Running studies: arms are taught the same subjects with the same seeds and measured alike; what exists stays."""

from __future__ import annotations

import json
import shutil
import subprocess
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from pydantic import TypeAdapter

from booth import __version__
from booth.compare.experiment import PHOTOGRAPHS, Arm, Setting, Study, runs_of, subject_name
from booth.compare.study_run import StudyRun, Where, claimed, is_there
from booth.concept import Concept
from booth.config import RunConfig
from booth.core.cancel import CancelToken
from booth.core.commit import committed_file, package_versions
from booth.core.errors import BoothError, DiskFullError, UsageError
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.method import Subject
from booth.core.metric import Evidence
from booth.data.beside import MASK
from booth.data.photos import load_photos
from booth.evaluate.encoders import load_encoders
from booth.evaluate.masks import Masks
from booth.evaluate.measure import measure
from booth.evaluate.protocol import Protocol
from booth.evaluate.report.files import write_whole
from booth.evaluate.rows import BASE, Photos, Untouched, draw_untouched, reference_rows
from booth.evaluate.run import concept_evidence
from booth.evaluate.subjects import other_noun, world_subject
from booth.events import Listener, Reporter, reporting
from booth.executor.job import Executor, Job, Resident, raise_failed
from booth.executor.spread import spread
from booth.registry import METRICS
from booth.session import Session
from booth.train.folders import work_folder
from booth.train.identity import lasting_name
from booth.train.run import train

PLAIN = "thing"  # stands for no class noun: a word that the embedded base has never read


@dataclass(frozen=True)
class StudySubject:
    """A subject of a study."""

    noun: str
    folder: Path
    photos: Photos


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
        left = _to_run(studies, setting, results, about, scale, photographs)
        where = Where(results.absolute(), work.absolute(), photographs and photographs.absolute())
        if executor is not None:
            session.close()  # the workers hold one each
            _spread(list(left), setting, where, device, executor, reporter)
            return
        encoders = load_encoders((), scale=scale)
        for run in left:
            _do(run, setting, where, session, encoders, reporter)


def do(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Json]:
    """One run, a job of an executor; its result is written, and whether it was this worker that did it is returned."""
    setting = Setting.model_validate(arguments["setting"])
    base = (arguments["base"], arguments["device"])
    session = resident.hold("base", base, lambda: Session(*base))
    with reporting([resident.on_event], resident.cancel) as reporter:
        with session.model() as model:
            scale = model.scale
        encoders = resident.hold("encoders", scale, lambda: load_encoders((), scale=scale))
        where = TypeAdapter(Where).validate_python(arguments["where"])
        return _do(StudyRun(**arguments["run"]), setting, where, session, encoders, reporter)


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
    for study in studies:
        for seed, place, name in runs_of(study):
            run = StudyRun(study.name, seed, place, name)
            if is_there(run.file(results), setting.arms[name], about, scale):
                continue
            if place.startswith(PHOTOGRAPHS) and photographs is None:
                raise UsageError(
                    f"{place} is a folder of photographs.",
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
    encoders: Sequence[Any],
    reporter: Reporter,
) -> dict[str, Any]:
    """One run, which borrows the session's base while it trains and while it draws; {} where another process has it."""
    file, arm = run.file(where.results), setting.arms[run.arm]
    with claimed(where.work / file.parent.name / f"{run.arm}-{run.seed}") as folder:
        if folder is None:
            return {}
        run.tell_begun(reporter)
        subject = _subject(run.subject, where.photographs, where.work)
        about = {"booth": __version__, **_revision(), "versions": package_versions(), "device": session.device}
        about |= {"threads": torch.get_num_threads(), "base": session.hash}
        about |= {"setting": setting.model_dump(exclude={"arms"})}
        result = {"subject": run.subject, "arm": {"name": run.arm, **arm.model_dump()}, "seed": run.seed, **about}
        result |= _attempt(arm, subject, run.seed, setting, session, encoders, folder, reporter)
        write_whole(file, json.dumps(result, indent=1) + "\n")
        run.tell_ended(result, reporter)
        return {"status": result["status"], "error": result.get("error")}


def _attempt(
    arm: Arm,
    taught: StudySubject,
    seed: int,
    setting: Setting,
    session: Session,
    encoders: Sequence[Any],
    folder: Path,
    reporter: Reporter,
) -> dict[str, Any]:
    """One run's numbers. Whatever fails is told in them, but for a full disk, on which nothing else would succeed."""
    noun = {"right": taught.noun, "wrong": other_noun(taught.noun), "none": PLAIN}[arm.noun]
    subject = Subject(setting.token, noun)
    try:
        concept = (
            _teach(arm, taught, subject, seed, setting, folder / "concept", session, reporter) if arm.method else None
        )
        measured: dict[str, Any] = {}
        for guidance in arm.guidance:
            # What the class means is asked once, and only of the noun that the others were taught.
            drift = setting.drift if guidance == arm.guidance[0] and noun == taught.noun else 0
            protocol = Protocol(tuple(setting.prompts), "study", (0,), drift, setting.steps, guidance)
            untouched_in = folder.parent / "untouched" / f"{noun}-{guidance:g}-{drift}"
            reporter.begin("drawing")
            with session.model() as model:
                untouched = draw_untouched(model, session.hash, subject, protocol, untouched_in)
                own = folder / f"{guidance:g}"
                evidence = _evidence(model, concept, subject, protocol, own, untouched, taught.photos)
            reporter.begin("measuring", 0, len(METRICS.usable()))
            scores = measure(evidence, encoders).scores.values()
            measured[f"{guidance:g}"] = {s.name: {"value": round(s.value, 5), "units": _short(s.units)} for s in scores}
    except DiskFullError:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, BoothError) else traceback.format_exception_only(error)[-1].strip()
        return {"status": "failed", "error": reason}
    if concept is not None:
        shutil.rmtree(concept.folder)
    return {"status": "done", "asked_noun": noun, "metrics": measured, **(_cost(concept) if concept else {})}


def _evidence(
    model: Family,
    concept: Concept | None,
    subject: Subject,
    protocol: Protocol,
    folder: Path,
    untouched: Untouched,
    photos: Photos,
) -> Evidence:
    if concept is None:
        return reference_rows(subject, protocol, untouched, photos)[BASE]
    return concept_evidence(model, concept, protocol, folder, untouched, photos)


def _teach(
    arm: Arm,
    taught: StudySubject,
    subject: Subject,
    seed: int,
    setting: Setting,
    out: Path,
    session: Session,
    reporter: Reporter,
) -> Concept:
    fields = {
        "photos": [taught.folder],
        "noun": subject.noun,
        "token": subject.token,
        "method": arm.method,
        "base": session.base,
        "out": out,
        "seed": seed,
        "until": arm.until,
        "checkpoint_every": 0,
        "resume": out.is_dir() or work_folder(out).is_dir(),
        "settings": arm.settings,
    }
    if arm.unmasked_weight is not None:
        fields["unmasked_weight"] = arm.unmasked_weight
    told = {"listeners": reporter.listeners, "cancel": reporter.cancel}
    return train(RunConfig.model_validate(fields), **told, samples=False, session=session)


def _cost(concept: Concept) -> dict[str, Any]:
    r = concept.record
    result = {"settings": r.settings, "steps": r.steps, "seconds": round(r.seconds, 1), "timings": r.timings}
    result |= {"peak_memory_bytes": r.peak_memory_bytes, "artifact_bytes": r.artifact_bytes}
    return result | {"selection": r.selection}


def _subject(place: str, photographs: Path | None, work: Path) -> StudySubject:
    """A subject of the world, whose photos are drawn and compared with others of it, or a folder of photographs."""
    name, _, variant = place.rpartition(":")
    folder = work / subject_name(place) / "photos"
    if name.startswith(PHOTOGRAPHS):
        assert photographs is not None
        folder, noun = photographs / name.removeprefix(PHOTOGRAPHS), variant
        found = load_photos([folder]).photos
        shown = [p.image for p in found]
        return StudySubject(noun, folder, Photos(shown, shown, False, Masks(noun, found)))
    seed, _, scene = variant.partition("@")
    known = world_subject(int(seed), name, scene=scene or None)
    _write_photos(known.photos, folder, "")
    if scene:
        _write_photos(known.masks, folder, MASK)
    photos = Photos(known.photos, known.unseen, True, Masks(name, load_photos([folder]).photos), known.lookalikes)
    return StudySubject(name, folder, photos)


def _write_photos(images: Sequence[Image], folder: Path, ending: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        file = folder / f"{i}{ending}.png"
        if not file.exists():
            with committed_file(file) as work:
                image.save(work, "PNG")


def _short(units: Sequence[float]) -> list[float]:
    return [round(u, 4) for u in units]


def _revision() -> dict[str, Any]:
    """Commit and whether anything was changed since, where booth runs from its repository."""
    try:
        here = ["git", "-C", str(Path(__file__).parent)]
        commit = subprocess.run([*here, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*here, "status", "-s", "src"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(changed.stdout.strip())}

"""Running studies: arms are taught the same subjects with the same seeds and measured alike; what exists stays."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from booth import __version__
from booth.compare.experiment import PHOTOGRAPHS, Arm, Setting, Study, run_file, runs_of, subject_name
from booth.concept import Concept
from booth.config import RunConfig
from booth.core.cancel import CancelToken
from booth.core.commit import package_versions
from booth.core.errors import BoothError, DiskFullError, UsageError
from booth.core.family import Family
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
from booth.registry import METHODS, METRICS
from booth.session import Session
from booth.train.folders import work_folder
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
) -> None:
    """Run what has no result yet. Two processes may share the work; a run that another one holds is left to it.

    `listeners` hear each run begin and end, and what it tells; `cancel` is looked at in all of it.
    """
    with reporting(listeners, cancel) as reporter, Session(setting.base, device) as session:
        _run(studies, setting, session, results, work, photographs, reporter)


def _run(
    studies: Sequence[Study],
    setting: Setting,
    session: Session,
    results: Path,
    work: Path,
    photographs: Path | None,
    reporter: Reporter,
) -> None:
    """All runs on one session's base, which each of them borrows while it trains and while it draws."""
    with session.model() as model:
        scale = model.scale
    encoders = load_encoders((), scale=scale)
    about = {"booth": __version__, **_revision(), "versions": package_versions(), "device": session.device}
    about |= {"threads": torch.get_num_threads(), "base": session.hash}
    about |= {"setting": setting.model_dump(exclude={"arms"})}
    for study in studies:
        for seed, place, name in runs_of(study):
            file = run_file(results, place, name, seed)
            arm = setting.arms[name]
            if _is_there(file, arm, about, scale):
                continue
            if place.startswith(PHOTOGRAPHS) and photographs is None:
                raise UsageError(
                    f"{place} is a folder of photographs.",
                    "Say where it lies with `photos`.",
                    code="study.photographs_unnamed",
                    field="photos",
                )
            with _claimed(work / file.parent.name / f"{name}-{seed}") as folder:
                if folder is None:
                    continue
                run = {"study": study.name, "arm": name, "subject": place, "seed": seed}
                began = f"{study.name}: {name} is taught {place} with seed {seed}."
                reporter.emit("run", **run, status="begun", text=began)
                subject = _subject(place, photographs, work)
                result = {"subject": place, "arm": {"name": name, **arm.model_dump()}, "seed": seed, **about}
                result |= _attempt(arm, subject, seed, setting, session, encoders, folder, reporter)
                write_whole(file, json.dumps(result, indent=1) + "\n")
                if result["status"] == "failed":
                    reporter.emit("run", "warning", **run, status="failed", text=f"It failed: {result['error']}")
                else:
                    reporter.emit("run", "debug", **run, status="done")


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
        "base": setting.base,
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
            image.save(partial := file.with_suffix(".part"), "PNG")
            partial.rename(file)


def _is_there(file: Path, arm: Arm, about: dict[str, Any], scale: str) -> bool:
    """Whether the run has a result; UsageError where it was made otherwise than it would be now."""
    if not file.is_file():
        return False
    found = json.loads(file.read_text())
    if found["status"] == "failed":
        return False
    taught = Arm.model_validate({key: value for key, value in found["arm"].items() if key != "name"})
    differs = [*(["arm"] if taught != arm else []), *(key for key in ("base", "setting") if found[key] != about[key])]
    if arm.method is not None and not differs:
        kind = METHODS[arm.method]
        now = kind.Config(**kind.defaults(scale) | arm.settings).model_dump(mode="json")
        open_ended = {"steps"} if arm.until == "done" else set[str]()
        then = {key: value for key, value in found["settings"].items() if key not in open_ended}
        differs = [f"{key} of {arm.method}" for key, value in then.items() if now.get(key) != value]
    if differs:
        raise UsageError(
            f"{file} was made with another {' and '.join(differs)}.",
            "Delete it to have it made again.",
            code="study.other_settings",
            field="results",
        )
    return True


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


@contextmanager
def _claimed(folder: Path) -> Iterator[Path | None]:
    """The run's folder while it is this process's alone; None if another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        yield folder

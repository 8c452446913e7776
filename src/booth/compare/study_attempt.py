"""One run of a study: an arm is taught a subject, draws it and is measured."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from booth.compare.experiment import Arm, Setting
from booth.compare.study_subject import StudySubject
from booth.concept import Concept
from booth.config import RunConfig
from booth.core.encoder import Encoder
from booth.core.errors import BoothError, DiskFullError
from booth.core.family import Family
from booth.core.method import Subject
from booth.core.metric import Evidence
from booth.evaluate.measure import measure
from booth.evaluate.protocol import Protocol
from booth.evaluate.rows import BASE, Photos, Untouched, draw_untouched, reference_rows
from booth.evaluate.run import concept_evidence
from booth.evaluate.subjects import other_noun
from booth.events import Reporter
from booth.registry import METRICS
from booth.session import Session
from booth.train.folders import work_folder
from booth.train.run import train

PLAIN = "thing"  # stands for no class noun: a word that the embedded base has never read


def attempt(
    arm: Arm,
    taught: StudySubject,
    seed: int,
    setting: Setting,
    session: Session,
    encoders: Sequence[Encoder],
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


def _short(units: Sequence[float]) -> list[float]:
    return [round(u, 4) for u in units]

"""What a worker does for one run: fetch, go on where it was, train, measure, and bring everything to its place."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from booth.concept import Concept
from booth.config import RunConfig
from booth.core.cache import cache_folder
from booth.core.commit import MANIFEST, package_versions
from booth.core.errors import Cancelled, DamagedFileError, Interrupted, NotAvailableError
from booth.data.latent_store import FOLDER as LATENTS
from booth.events import Event
from booth.executor.job import Resident
from booth.families.quiet import hush
from booth.fleet.place import Place, open_place
from booth.fleet.runs import BEAT, DONE, Beat, Run
from booth.fleet.uploads import Uploads, restore
from booth.session import Session
from booth.train.folders import CHECKPOINTS, work_folder
from booth.train.setup import choose_device
from booth.train.trainer import Trainer

PHOTOS, CONCEPT, NUMBERS = "photos", "concept", "evaluation.json"
# What a fleet's report is about, by metric and part.
TOLD = {
    "fidelity": ("subject_similarity", ""),
    "identity": ("identity", ""),
    "drift": ("cmmd", "class"),
    "copying": ("copying", "share"),
    "prompt": ("prompt_similarity", "token_dropped"),
}


def work(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Any]:
    """Do the run that `arguments` name, a job of an executor; return what its commit marker says.

    Stopped, it has brought its newest checkpoint to its place before Cancelled is raised.
    """
    began = time.monotonic()
    hush()
    place = open_place(arguments["place"])
    run = Run(place, arguments["subject"], arguments["id"])
    job = run.job()
    if job is None:
        raise DamagedFileError(
            f"{run.home} in {place.url} was not enrolled.", "Run the command again.", code="fleet.not_enrolled"
        )
    done = run.done()
    if done is not None:  # by another worker meanwhile
        return done
    status = run.status()
    scratch = subject_scratch(place.url, run.subject) / run.key
    with _threads(job["threads"]), Beat(place, f"{run.home}/{BEAT}") as beat:
        run.write(replace(status, state="running", owner=beat.owner, reason=""))
        try:
            concept = _taught(run, job, arguments, resident, scratch)
            done = _kept(run, job, arguments, resident, concept, scratch)
        except Cancelled as error:
            mine = isinstance(error, Interrupted)  # by a signal to this worker, not by its driver
            again = replace(status, state="pending", owner=None, preemptions=status.preemptions + mine)
            run.write(replace(again, reason=str(error)))
            _forget(scratch)
            raise
        except NotAvailableError:
            raise  # what could not be brought to its place stays here
        except BaseException:
            _forget(scratch)
            raise
        done["worker_seconds"] = round(time.monotonic() - began, 3)
        _commit(run, done, beat)
    _forget(scratch if job["siblings"] else scratch.parent)
    return done


def subject_scratch(url: str, subject: str) -> Path:
    """Where all that is of one subject lies on the machine of a worker, until it is in its place."""
    place, name = (hashlib.sha256(text.encode()).hexdigest()[:16] for text in (url, subject))
    return cache_folder() / "fleet" / place / name


def _forget(folder: Path) -> None:
    """Leave nothing of a run, or of a subject, on this machine."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.parent.is_dir() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()


@contextmanager
def _threads(count: int) -> Generator[None]:
    """Within this context sums are added up by so many threads: their order decides the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def configuration_of(job: Mapping[str, Any], scratch: Path, device: str | None) -> RunConfig:
    """The run as it is trained here."""
    values = dict(job["configuration"])
    photos = [[scratch / PHOTOS / name for name in several] for several in job["sources"]]
    also = [{**other, "photos": own} for other, own in zip(values.pop("also"), photos[1:], strict=True)]
    here = {"photos": photos[0], "also": also, "out": scratch / CONCEPT, "resume": True, "device": device}
    return RunConfig.model_validate({**values, **here})


def _taught(
    run: Run, job: Mapping[str, Any], arguments: Mapping[str, Any], resident: Resident, scratch: Path
) -> Concept:
    """The concept in the scratch folder, taught from where the newest checkpoint is, here or in the run's place."""
    for name, digest in job["photos"].items():
        _fetch(run.place, f"{job['photos_at']}/{name}", scratch / PHOTOS / name, digest)
    config = configuration_of(job, scratch, arguments["device"])
    home = work_folder(config.folder.absolute())
    restore(run.place, run.checkpoints, home / CHECKPOINTS)
    session = _session(config, resident)
    uploads = Uploads(run.place, run.checkpoints, home, scratch / "outbox")

    def told(event: Event) -> None:
        resident.on_event(replace(event, data={**event.data, "run": run.key, "subject": run.subject}))

    how: dict[str, Any] = {"listeners": [uploads, told], "cancel": resident.cancel, "session": session}
    try:
        with Trainer(config, **how, samples=False, latents=scratch.parent / LATENTS) as trainer:
            for _ in trainer:
                pass
            return trainer.finish()
    finally:
        uploads.finish()


def _session(config: RunConfig, resident: Resident) -> Session:
    """The base that this worker holds from run to run."""
    device = choose_device(config.device)
    return resident.hold("base", (config.base, device), lambda: Session(config.base, device))


def _fetch(place: Place, name: str, file: Path, digest: str) -> None:
    """A photo or what belongs to one; DamagedFileError where it is not what was enrolled."""
    if file.is_file() and _sha256(file) == digest:
        return
    place.get(name, file)
    if _sha256(file) != digest:
        raise DamagedFileError(
            f"{name} in {place.url} is not what was enrolled.", "Run the command again.", code="fleet.hash_differs"
        )


def _kept(
    run: Run,
    job: Mapping[str, Any],
    arguments: Mapping[str, Any],
    resident: Resident,
    concept: Concept,
    scratch: Path,
) -> dict[str, Any]:
    """Everything in its place but the marker, which is returned."""
    config = configuration_of(job, scratch, arguments["device"])
    measured = _measured(concept, config, resident) if arguments["evaluate"] else {}
    files = run.place.put_folder(concept.folder, f"{run.home}/{CONCEPT}", last=MANIFEST)
    if measured:
        run.place.write_json(f"{run.home}/{NUMBERS}", measured)
    record = concept.record
    return {
        "schema": 1,
        "id": run.key,
        "subject": run.subject,
        "token": record.subject.token,
        "class": record.subject.noun,
        "method": record.method,
        "settings": record.settings,
        "base": record.base.model_dump(),
        "steps": record.steps,
        "seconds": record.seconds,
        "timings": record.timings,
        "bytes": record.artifact_bytes,
        "files": {name.removeprefix(f"{run.home}/"): _sha256(concept.folder / _below(run, name)) for name in files},
        "shape": shape_of(concept),
        "metrics": _in_brief(measured),
        "created": record.created,
        "versions": package_versions(),
    }


def _below(run: Run, name: str) -> str:
    return name.removeprefix(f"{run.home}/{CONCEPT}/")


def _commit(run: Run, done: dict[str, Any], beat: Beat) -> None:
    """The marker, once all else is there; a worker that was taken for dead leaves the run to its successor."""
    now = run.status()
    if now.owner != beat.owner:
        raise Cancelled(f"{run.home} is done by another worker.")
    run.write(replace(now, state="done", owner=None))
    run.place.write_json(f"{run.home}/{DONE}", done)
    run.place.remove(*run.place.names(run.checkpoints))


def _measured(concept: Concept, config: RunConfig, resident: Resident) -> dict[str, Any]:
    """A quick evaluation of the concept on the base that is held."""
    from booth.evaluate.protocol import make_protocol
    from booth.evaluate.run import evaluate

    subject = concept.record.subject
    if not subject.noun:
        return {}  # a method that follows a control picture, and teaches no subject
    protocol = make_protocol(subject.noun, kind=subject.kind, quick=True)
    folder = concept.folder.with_name("pictures")
    session = _session(config, resident)
    how: dict[str, Any] = {"photos": config.photos, "any_class": True, "session": session}
    evaluation = evaluate(concept, protocol, folder, **how, untouched_in=_untouched(concept, session))
    return evaluation.to_json() | {"concept": concept.record.name}


def _untouched(concept: Concept, session: Session) -> Path:
    """Where this machine keeps what the untouched base draws of a token and class: it shows nobody, and serves all."""
    subject, device = concept.record.subject, session.device
    about = [session.hash, subject.token, subject.noun, subject.kind, device, torch.__version__]
    return cache_folder() / "untouched" / hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]


def _in_brief(measured: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that a report is about, by the most trusted encoder that gave each."""
    found: dict[str, float] = {}
    scores: list[Mapping[str, Any]] = list(measured.get("metrics", {}).values())
    for name, (metric, part) in TOLD.items():
        values = [s["value"] for s in scores if (s["metric"], s["part"]) == (metric, part) and s["value"] is not None]
        found |= {name: float(values[0])} if values else {}
    return found


def shape_of(concept: Concept) -> str:
    """The hash of which tensors there are and of what shapes: adapters of one shape can take each other's place."""
    from safetensors import safe_open

    told: list[str] = []
    for file in sorted(concept.folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            names = sorted(tensors.keys())
            told += [f"{file.name} {name} {tensors.get_slice(name).get_shape()}" for name in names]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()

"""What came of a run: measured, brought to its place, and in brief."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from booth.concept import Concept
from booth.config import RunConfig
from booth.core.commit import MANIFEST, package_versions
from booth.core.json_values import Json
from booth.fleet.runs import Run
from booth.session import Session

CONCEPT, NUMBERS = "concept", "evaluation.json"
# What a fleet's report is about, by metric and part.
TOLD = {
    "fidelity": ("subject_similarity", ""),
    "identity": ("identity", ""),
    "drift": ("cmmd", "class"),
    "copying": ("copying", "share"),
    "prompt": ("prompt_similarity", "token_dropped"),
}


def bring(run: Run, concept: Concept, measured: Mapping[str, object]) -> dict[str, Json]:
    """Everything in its place but the marker, which is returned."""
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
        "files": {name.removeprefix(f"{run.home}/"): sha256_of(concept.folder / _below(run, name)) for name in files},
        "shape": shape_of(concept),
        "metrics": _in_brief(measured),
        "created": record.created,
        "versions": package_versions(),
    }


def _below(run: Run, name: str) -> str:
    return name.removeprefix(f"{run.home}/{CONCEPT}/")


def measure(concept: Concept, config: RunConfig, session: Session) -> dict[str, Json]:
    """A quick evaluation of the concept on the base that is held."""
    from booth.evaluate.protocol import make_protocol
    from booth.evaluate.run import evaluate

    subject = concept.record.subject
    if not subject.noun:
        return {}  # a method that follows a control picture, and teaches no subject
    protocol = make_protocol(subject.noun, kind=subject.kind, quick=True)
    folder = concept.folder.with_name("pictures")
    how: dict[str, Any] = {"photos": config.photos, "any_class": True, "session": session}
    evaluation = evaluate(concept, protocol, folder, **how)
    return evaluation.to_json() | {"concept": concept.record.name}


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


def sha256_of(file: Path) -> str:
    """The hash of a file's content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()

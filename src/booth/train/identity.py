"""What decides the weights of a run: in none of it may one differ that goes on with another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

from booth.config import RunConfig
from booth.core.concept import BaseRecord, SubjectRecord
from booth.core.errors import UsageError
from booth.core.json_values import Json
from booth.core.method import Method, MethodConfig, Subject
from booth.core.places import as_text
from booth.data.photos import PhotoSet
from booth.train.setup import preprocessing


def data_settings(config: RunConfig, sets: list[PhotoSet]) -> dict[str, Json]:
    """Everything about the photos that decides the weights, but for their own hashes."""
    photos = [p for photos in sets for p in photos.photos]
    return {
        **asdict(preprocessing(config)),
        "resolution": config.resolution,
        **({"until": config.until} if config.until == "done" else {}),
        "captions": [p.caption for p in photos],
        "repeats": [p.repeats for p in photos],
        "masks": [p.mask_sha256 for p in photos],
        "hints": [p.control_image_sha256 for p in photos],
        "photos_each": [len(s.photos) for s in sets],
    }


class Known(TypedDict):
    """What is known of a concept before its first step, as its record calls it."""

    method: str
    settings: dict[str, Any]
    base: BaseRecord
    data: dict[str, Any]
    subject: SubjectRecord
    seed: int
    precision: str
    photos: list[str]  # their hashes
    photo_files: list[str]


def known(
    config: RunConfig,
    method: Method,
    base_hash: str,
    precision: str,
    sets: list[PhotoSet],
    start: Mapping[str, str] | None = None,
) -> Known:
    """The fields of a ConceptRecord that are decided before the first step; `start` is what weights it starts from."""
    photos, held = [p for each in sets for p in each.photos], config.base_precision or "fp32"
    return {
        "method": config.method,
        "settings": method.config.model_dump(mode="json"),
        "base": BaseRecord(name=lasting_name(config.base), hash=base_hash),
        "data": data_settings(config, sets) | ({"start_from": dict(start)} if start else {}),
        "subject": _record_of(method.subject),
        "seed": config.seed,
        "precision": precision + (f", base in {held}" if held != "fp32" else "") + ", compiled" * config.compile,
        "photos": [p.sha256 for p in photos],
        "photo_files": [as_text(p.path.absolute()) for p in photos],
    }


def _record_of(subject: Subject) -> SubjectRecord:
    others = [_record_of(other) for other in subject.others]
    return SubjectRecord(token=subject.token, noun=subject.noun, kind=subject.kind, others=others)


def lasting_name(base: str) -> str:
    """The name by which a base is found again from any folder."""
    return str(Path(base).expanduser().absolute()) if Path(base).expanduser().exists() else base


def identity(known: Mapping[str, Any]) -> dict[str, Json]:
    """All that decides the weights, from the fields of a ConceptRecord; a run goes on only where these are the same."""
    start = known["data"].get("start_from")
    return {
        "method": known["method"],
        "base": known["base"].hash,
        "token": known["subject"].token,
        "class": known["subject"].noun,
        "kind": known["subject"].kind,
        "also": [f"{other.token} {other.noun}" for other in known["subject"].others],
        "seed": known["seed"],
        "precision": known["precision"],
        "photos": known["photos"],
        **known["data"],
        **({"start_from": start["sha256"]} if start else {}),  # wherever it lies
        **known["settings"],
    }


def differing(former: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """In what a run differs from a former one."""
    # A checkpoint from before there was a setting is of its default.
    defaults = {n: f.get_default(call_default_factory=True) for n, f in MethodConfig.model_fields.items() if n in now}
    former = {**defaults, **former}
    return sorted(n for n in former.keys() | now.keys() if former.get(n) != now.get(n))


def require_same(former: Mapping[str, object], now: Mapping[str, object], where: str) -> None:
    """Raise UsageError that names what differs from the run that is to be resumed."""
    names = differing(former, now)
    if not names:
        return
    told = [
        f"{n} is different" if n in {"photos", "base"} else f"{n} was {former.get(n)!r} and is now {now.get(n)!r}"
        for n in names
    ]
    raise UsageError(
        f"{where} belongs to another run: {'; '.join(told)}.",
        "Give the same photos and settings as then to go on, or another `out` to start a new run.",
        code="out.other_run",
        field="out",
    )

"""Going on from an earlier concept: which there are, which methods can, and what a run takes over from one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from booth.core.commit import MANIFEST, verify
from booth.registry import METHODS
from booth.web.forms import Wrong
from booth.web.home import Home
from booth.web.jobs import Job
from booth.web.runs import Place, Places


def starts_of(places: Places) -> list[dict[str, str]]:
    """The concepts of subjects that a run can go on from, the latest first."""
    found: list[dict[str, str]] = []
    for place in places.all():
        record = (place.record() if place.is_concept else None) or {}
        subject = record.get("subject") or {}
        if subject.get("token") and record.get("method") in METHODS:
            told = {key: str(subject.get(key) or "") for key in ("token", "noun", "kind")}
            base = str((record.get("base") or {}).get("name") or "")
            found.append({"id": place.id, "name": place.name, "method": str(record["method"]), "base": base, **told})
    return found


def start_of(places: Places, key: str) -> Place:
    """The finished concept of an id; Wrong if there is none."""
    place = places.get(key)
    if place is None or not place.is_concept:
        told = "The concept that it was to go on from is gone."
        raise Wrong("start_from", told, "Choose another one, or begin anew.", code="start.missing")
    return place


def able_to_go_on(methods: Mapping[str, Any], place: Place) -> list[str]:
    """The methods, of the catalogue's, among whose tensors are those of a concept."""
    held = (place.record() or {}).get("method")
    return [name for name, method in methods.items() if held == name or held in method["contains"]]


def require_able(methods: Mapping[str, Any], name: str, place: Place) -> None:
    """Wrong unless a method can go on from a concept."""
    able = able_to_go_on(methods, place)
    if name not in able:
        told = f"{place.name} cannot be gone on from with {name}."
        advice = f"Choose {' or '.join(able)}." if able else "Begin anew."
        raise Wrong("methods", told, advice, code="start.unfit_method")


def defaults_of(method: Mapping[str, Any], scale: str, place: Place | None) -> dict[str, Any]:
    """A method's defaults on a base of this scale, as they are where it goes on from a concept."""
    if place is None:
        return method["defaults"][scale]
    record = place.record() or {}
    taken = method["carried"]["same" if record.get("method") == method["name"] else "other"]
    return method["defaults"][scale] | {k: v for k, v in (record.get("settings") or {}).items() if k in taken}


def frozen(home: Home, place: Place) -> dict[str, str]:
    """Which concept it is, and by the hash of its manifest the files that it has now; DamagedFileError for others."""
    verify(place.out)
    return {
        "concept": home.relative(place.out),
        "sha256": hashlib.sha256((place.out / MANIFEST).read_bytes()).hexdigest(),
    }


def still_the_same(home: Home, job: Job) -> str | None:
    """Why a training cannot start any more: the concept that it goes on from was changed while it waited."""
    start = job.about.get("start")
    if not start:
        return None
    try:
        now = hashlib.sha256((home.root / str(start["concept"]) / MANIFEST).read_bytes()).hexdigest()
    except OSError:
        return f"{start['concept']}, from which it was to go on, is gone. Queue the job again from another one."
    if now != start["sha256"]:
        return f"{start['concept']} was changed after the job was queued. Queue it again."
    return None

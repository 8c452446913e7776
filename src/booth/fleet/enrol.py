"""Which runs a manifest asks for, under which ids, and what their workers need of them in the place."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from booth import __version__
from booth.core.errors import BadDataError
from booth.families.loading import base_hash, resolve_base
from booth.fleet.identity import Source, plain_configuration, read_sources, run_id
from booth.fleet.manifest import Entry
from booth.fleet.place import Place
from booth.fleet.runs import JOB, SUBJECTS, Run
from booth.train.identity import lasting_name


@dataclass(frozen=True)
class Asked:
    """A run that is asked for; without sources its photos cannot be read, for the `fault`."""

    entry: Entry
    run: Run
    sources: Sequence[Sequence[Source]]
    job: Mapping[str, Any]
    fault: BadDataError | None = None


def asked_for(entries: Sequence[Entry], place: Place, threads: int) -> list[Asked]:
    """Every run of the entries. NotAvailableError for a base that is not here; photos that are not, are faults."""
    several = Counter(entry.subject for entry in entries)
    hashes = {base: base_hash(resolve_base(base)) for base in {entry.config.base for entry in entries}}
    found: list[Asked] = []
    for entry in entries:
        sources: list[list[Source]] = []
        fault = None
        try:
            sources = read_sources(entry.sources)
        except BadDataError as error:
            fault = error
        base = hashes[entry.config.base]
        run = Run(place, entry.subject, run_id(entry.config, sources, base, threads))
        job = _job(entry, run, sources, base, threads) | {"siblings": several[entry.subject] - 1}
        found.append(Asked(entry, run, sources, job, fault))
    return found


def enrol(asked: Asked) -> None:
    """Bring to the place what a worker anywhere needs of the run: its photos and then what is asked."""
    run, place = asked.run, asked.run.place
    there = set(place.names(asked.job["photos_at"]))
    for name, file in _files(asked.sources).items():
        where = f"{asked.job['photos_at']}/{name}"
        if where not in there:
            place.put(file, where)
    if place.read_json(f"{run.home}/{JOB}") != asked.job:
        place.write_json(f"{run.home}/{JOB}", asked.job)


def _job(entry: Entry, run: Run, sources: Sequence[Sequence[Source]], base: str, threads: int) -> dict[str, Any]:
    hashes = {
        _named(i, j, source, name): digest
        for i, several in enumerate(sources)
        for j, source in enumerate(several)
        for name, digest in source.hashes.items()
    }
    digest = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "schema": 1,
        "id": run.key,
        "subject": entry.subject,
        "configuration": plain_configuration(entry.config) | {"base": lasting_name(entry.config.base)},
        "sources": [[f"{i}/{j}/{source.name}" for j, source in enumerate(s)] for i, s in enumerate(sources)],
        "photos_at": f"{SUBJECTS}/{entry.subject}/photos/{digest}",
        "photos": hashes,
        "base_hash": base,
        "booth": __version__,
        "threads": threads,
    }


def _files(sources: Sequence[Sequence[Source]]) -> dict[str, Path]:
    """Each file of this machine by its name in the place."""
    return {
        _named(i, j, source, name): file
        for i, several in enumerate(sources)
        for j, source in enumerate(several)
        for name, file in source.files.items()
    }


def _named(subject: int, number: int, source: Source, name: str) -> str:
    inside = f"{source.name}/{name}" if source.is_folder else name
    return f"{subject}/{number}/{inside}"

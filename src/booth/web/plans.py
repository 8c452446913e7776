"""From a form to jobs: what was asked is checked, the photos are copied as they are, the command is put together."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from booth.config import RunConfig
from booth.core.errors import Problems, UsageError
from booth.registry import METHODS
from booth.web.bases import EMBEDDED
from booth.web.catalogue import Catalogue
from booth.web.forms import Wrong, assignment, method_fields, run_fields, taken
from booth.web.home import Home
from booth.web.jobs import Job
from booth.web.photos import PhotoSets
from booth.web.runs import WORK, Place
from booth.web.scoring import Scoring
from booth.web.scoring import words as scored_by
from booth.web.starts import defaults_of, frozen, require_able, start_of
from booth.web.starts import still_the_same as start_still_the_same
from booth.web.studio import Studio

ROWS = 8  # previews, and checkpoints, of a run unless somebody says otherwise
NO_BASE = "Name a base: embedded, a folder, a .safetensors file or a Hub id."
WORDS = re.compile(r"[^\W_][\w .'-]*")


class Other(BaseModel):
    """Another subject of the same run."""

    set: str = Field(max_length=12)
    token: str = Field(max_length=60)
    noun: str = Field(max_length=60)


class Plan(Scoring):
    """What is asked for on the page of a plan; only a race is scored."""

    noun: str = Field("", max_length=60)
    token: str = Field("sks", max_length=60)
    kind: Literal["subject", "style"] = "subject"
    base: str = Field(EMBEDDED, max_length=300)
    methods: list[str] = Field(default_factory=lambda: ["lora"], min_length=1, max_length=20)
    race: bool = False
    name: str = Field("", max_length=80)
    run: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    also: list[Other] = Field(default_factory=list, max_length=8)
    start_from: str = Field("", pattern="^([0-9a-f]{12})?$", description="id of a concept to go on from; empty = none")


def scale_of(base: str) -> str:
    """Which of a method's defaults a base takes."""
    return "tiny" if base == EMBEDDED else "full"


def queue(studio: Studio, catalogue: Catalogue, key: str, plan: Plan) -> Job:
    """Check a plan and queue what it asks for; UsageError with each field that is wrong."""
    sets = PhotoSets(studio.home)
    photos = sets.get(key)
    if photos is None:
        raise UsageError("This set of photos is gone.", "Choose another one.", code="photos.set_gone")
    plan = plan.model_copy(update={"noun": "style" if plan.kind == "style" and not plan.noun else plan.noun.strip()})
    wrong, racing = Problems(_wrong_words(plan)), plan.race or len(plan.methods) > 1
    start = None
    if plan.start_from:
        with wrong.noted():
            start = _start(studio, plan, racing)
    by: list[str] = []
    if racing:
        with wrong.noted():
            by = scored_by(catalogue, plan, alone=True)
    run, settings = ({}, {}) if racing or wrong.of("methods") else _values(catalogue, plan, wrong, start)
    wrong.tell()
    photos.note(noun=plan.noun, token=plan.token, kind=plan.kind)
    snapshot, hashes = photos.snapshot()
    also = [_other(studio.home, sets, other) for other in plan.also]
    source = studio.home.relative(snapshot)
    about = {"set": photos.id, "subject": f"{plan.token} {plan.noun}", "hashes": hashes, "plan": plan.model_dump()}
    if racing:
        return _race(studio, plan, source, about, by)
    scale = scale_of(plan.base)
    steps = int(
        settings.get("steps") or catalogue.get()["methods"][plan.methods[0]]["defaults"][scale].get("steps") or 400
    )
    about |= {"steps": steps} | ({"start": frozen(studio.home, start)} if start is not None else {})
    return _training(studio, plan, source, also, about, run, settings)


def _wrong_words(plan: Plan) -> Iterator[Wrong]:
    if not plan.noun:
        yield Wrong("noun", "Say what kind of thing it is, such as dog, mug or chair.", code="noun.missing")
    for field in ("noun", "token"):
        if (plan.noun or field == "token") and not WORDS.fullmatch(getattr(plan, field)):
            yield Wrong(field, f"The {field} is made of letters, digits, dots and dashes.", code="noun.invalid")
    if plan.noun == plan.token:
        told = f"The token and the class noun are both {plan.noun!r}."
        yield Wrong("token", told, "Choose a rare token, such as sks.", code="token.is_noun")
    for method in plan.methods:
        if method not in METHODS:
            yield Wrong("methods", f"There is no method {method!r}.", code="method.unknown")
    if not names_a_base(plan.base):
        yield Wrong("base", NO_BASE, code="base.invalid")


def names_a_base(base: str) -> bool:
    """Whether it can be the name of a base, and is no option or control sequence."""
    return bool(base) and not base.startswith("-") and base.isprintable()


def _start(studio: Studio, plan: Plan, racing: bool) -> Place:
    """The concept to go on from; Wrong where a race is asked for, whose methods are to be on the same footing."""
    if racing:
        raise Wrong(
            "start_from",
            "In a race every method begins anew.",
            "Choose one method, or go on from no concept.",
            code="start.in_race",
        )
    return start_of(studio.places, plan.start_from)


def _values(
    catalogue: Catalogue, plan: Plan, wrong: Problems, start: Place | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of the run and the method's settings that are not the defaults, with `wrong` told of what is amiss."""
    method, scale = catalogue.method(plan.methods[0]), scale_of(plan.base)
    run: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    with wrong.noted():
        run = taken(run_fields(), plan.run)
    with wrong.noted():
        if method is None:
            raise Wrong("methods", f"There is no method {plan.methods[0]!r} here.", code="method.unknown")
        if start is not None:
            require_able(catalogue.get()["methods"], plan.methods[0], start)
        form = method_fields(method, catalogue.get()["chosen"], defaults_of(method, scale, start))
        settings = taken(form, plan.settings, "settings.")
    return run, settings


def _other(home: Home, sets: PhotoSets, other: Other) -> str:
    found = sets.get(other.set)
    if found is None:
        raise Wrong("also", "One of the other sets of photos is gone.", "Choose it again.", code="photos.set_gone")
    if not WORDS.fullmatch(other.token) or not WORDS.fullmatch(other.noun):
        raise Wrong("also", "Every other subject needs a token and a class noun of its own.", code="also.invalid")
    return f"{home.relative(found.snapshot()[0])}={other.token} {other.noun}"


def _training(
    studio: Studio,
    plan: Plan,
    source: str,
    also: list[str],
    about: dict[str, Any],
    run: dict[str, Any],
    settings: dict[str, Any],
) -> Job:
    name, every = plan.methods[0], max(1, about["steps"] // ROWS)
    run = {"previews": every, "checkpoint_every": every, "keep_checkpoints": 3 * ROWS} | run
    out = _free(studio, plan.name or f"{plan.token}-{plan.noun}-{name}")
    words = [f"--class={plan.noun}", f"--token={plan.token}", f"--method={name}"]
    start = about.get("start")  # whose kind and base would count where none is given
    words += [f"--kind={plan.kind}"] if plan.kind != "subject" or start else []
    words += [f"--base={plan.base}"] if plan.base != EMBEDDED or start else []
    words += [f"--start-from={start['concept']}"] if start else []
    words += [f"--also={line}" for line in also]
    words += [f"--set={assignment(key, value)}" for key, value in {**run, **settings}.items()]
    words += [f"--out={studio.home.relative(out)}"]
    RunConfig.model_validate(
        {"noun": plan.noun, "token": plan.token, "kind": plan.kind, "method": name, "photos": [Path(source)], **run}
    )
    about |= {"title": out.name, "out": studio.home.relative(out), "method": name, "photos": source}
    device = str(run.get("device") or "main")
    return studio.keeper.add("train", ["train", *words, "--json", "--", source], device=device, about=about)


def _race(studio: Studio, plan: Plan, source: str, about: dict[str, Any], by: Sequence[str]) -> Job:
    if plan.also:
        raise Wrong(
            "also",
            "A race is about one subject.",
            "Take the other subjects out, or choose one method.",
            code="also.in_race",
        )
    stem, number = _plain(f"{plan.token}-{plan.noun}-race"), 1
    folder = studio.home.root / "races" / stem
    while folder.exists() or _taken(studio, folder):
        number += 1
        folder = folder.with_name(f"{stem}-{number}")
    words = [f"--class={plan.noun}", f"--token={plan.token}", *(f"--method={m}" for m in plan.methods)]
    words += [f"--kind={plan.kind}"] if plan.kind != "subject" else []
    words += [f"--base={plan.base}"] if plan.base != EMBEDDED else []
    words += [f"--steps={int(plan.settings['steps'])}"] if str(plan.settings.get("steps") or "").isdecimal() else []
    out = studio.home.relative(folder)
    words += ["--quick", *by, f"--out={out}", "--json", "--", source]
    about |= {"title": folder.name, "race": out, "methods": plan.methods, "photos": source}
    return studio.keeper.add("compare", ["compare", *words], device="main", about=about)


def _plain(words: str) -> str:
    return re.sub(r"[^\w.-]+", "-", words).strip("-.")[:100] or "concept"


def _free(studio: Studio, name: str) -> Path:
    """A folder for a concept that nothing has and no other job is going to have."""
    stem, number = _plain(name), 1
    out = studio.home.concepts / stem
    while out.exists() or out.with_name(out.name + WORK).exists() or _taken(studio, out):
        number += 1
        out = studio.home.concepts / f"{stem}-{number}"
    return out


def _taken(studio: Studio, folder: Path) -> bool:
    place = studio.home.relative(folder)
    return any(place in (j.about.get("out"), j.about.get("race")) for j in studio.library.all() if j.state != "done")


def still_the_same(home: Home, job: Job) -> str | None:
    """Why a training cannot start any more: its photos, or what it goes on from, were changed while it waited."""
    if (problem := start_still_the_same(home, job)) is not None:
        return problem
    hashes, source = job.about.get("hashes") or {}, job.about.get("photos")
    if not source:
        return None
    for name, digest in hashes.items():
        file = home.root / str(source) / Path(name).name
        try:
            if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                return f"{source}/{name} was changed after the job was queued. Queue it again."
        except OSError:
            return f"{source}/{name} is gone. Queue the job again from its photos."
    return None


def key_of(*parts: object) -> str:
    """A short name for what was asked."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]

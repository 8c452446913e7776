"""Subject and plan: what it is, by which method, at what cost on this machine, and Start."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from booth.core.errors import UsageError
from booth.registry import METHODS
from booth.web import forms, plans
from booth.web.bases import EMBEDDED, bases_of
from booth.web.catalogue import Catalogue
from booth.web.jobs import Job, tail, write_json
from booth.web.messages import words_of
from booth.web.pages.jobs import job_of
from booth.web.pages.jobs import shown as job_shown
from booth.web.pages.media import concept_of
from booth.web.pages.photos import set_of, sets_of
from booth.web.pages.photos import shown as set_shown
from booth.web.runs import read_json
from booth.web.starts import able_to_go_on, defaults_of, starts_of
from booth.web.studio import Studio
from booth.web.view import page, studio_of

router = APIRouter()
FIRST = ("lora", "dreambooth", "textual_inversion", "pivotal_tuning", "hypernetwork")  # the cards that come first


class Question(BaseModel):
    """What the advice is about."""

    noun: str = Field(min_length=1, max_length=60)
    token: str = Field("sks", max_length=60)
    kind: str = Field("subject", pattern="^(subject|style)$")
    base: str = Field("embedded", max_length=300)
    methods: list[str] = Field(default_factory=list, max_length=30)


def disk_of(artifact_bytes: float) -> int:
    """What a run takes while it lasts: in every checkpoint the weights and AdamW's two moments of each."""
    return int(artifact_bytes * 3 * (plans.ROWS + 1))


def catalogue_of(request: Request) -> Catalogue:
    """The methods and formats."""
    return request.app.state.catalogue


@router.get("/plan/{key}", include_in_schema=False)
def plan(request: Request, key: str, like: str = "", start_from: str = "") -> Response:
    """The page at once, filled in as for a job that it is to be `like`; what takes time to be known comes after it.

    With `start_from`, the id of a concept, as for a run that goes on from it.
    """
    photos, starts = set_of(request, key), starts_of(studio_of(request).places)
    others = [
        {"id": s.id, "name": s.name, "token": s.about().get("token") or "", "noun": s.about().get("noun") or ""}
        for s in sets_of(request).all() if s.id != photos.id and s.photos()
    ]  # fmt: skip
    typed = {k: v for k, v in photos.about().items() if k in ("noun", "token", "kind") and v}
    asked = {"noun": "", "token": "sks", "kind": "subject", "base": EMBEDDED, "also": [], "start_from": ""} | typed
    asked |= _plan_of(studio_of(request), like)
    former = next((start for start in starts if start["id"] == start_from), None)
    if former is not None:
        asked |= {k: former[k] for k in ("noun", "token", "kind", "base") if former[k]} | {"start_from": start_from}
    values = {
        "set": {"id": photos.id, "name": photos.name, "first": [p.id for p in photos.photos()[:6]]},
        "others": others, "asked": asked, "again": like, "bases": bases_of(studio_of(request).home), "starts": starts,
        "also": {other["set"]: other for other in asked["also"]},
    }  # fmt: skip
    return page(request, "plan.html", here="photos", **values)


def _plan_of(studio: Studio, job: str) -> dict[str, Any]:
    """What a job's plan asked for, and what was wrong with it; nothing without one."""
    former = studio.library.get(job) if job else None
    return {**(former.about.get("plan") or {}), "problems": former.problems} if former is not None else {}


@router.get("/plan/{key}/methods", include_in_schema=False)
def methods(request: Request, key: str, like: str = "", base: str = EMBEDDED, start_from: str = "") -> Response:
    """The cards and the form of settings on a base, and of what goes on from a concept: a part of the page."""
    studio, photos = studio_of(request), set_of(request, key)
    start = concept_of(request, start_from) if start_from else None
    known = catalogue_of(request).get()
    asked = _plan_of(studio, like)
    able = able_to_go_on(known["methods"], start) if start is not None else known["methods"]
    names = sorted(
        (n for n in able if known["methods"][n]["teaches"]), key=lambda n: FIRST.index(n) if n in FIRST else 99
    )
    defaults = {n: defaults_of(known["methods"][n], plans.scale_of(base), start) for n in names}
    settings = {n: forms.method_fields(known["methods"][n], known["chosen"], defaults[n]) for n in names}
    wished = [
        *(asked.get("methods") or []),
        *([(start.record() or {}).get("method")] if start is not None else []),
        "lora",
    ]
    run, words = forms.run_fields(), words_of(request)
    for field in [*run, *(f for fields in settings.values() for f in fields)]:
        field["meaning"] = words.told(field["meaning"])
    shown = set_shown(photos)
    facts = {
        "@masks": any(p["mask"] is not None for p in shown["photos"]),
        "@captions": any(p["caption"] for p in shown["photos"]),
    }
    return page(
        request, "methods.html", methods=[known["methods"][n] for n in names],
        costs=_costs(studio).get(base, {}), disk=disk_of,
        asked=asked, chosen=next((n for n in wished if n in names), ""),
        form={"run": run, "settings": settings, "idle": forms.IDLE, "facts": facts},
        own=[n for n in METHODS.own if n in names], embedded=base == EMBEDDED,
    )  # fmt: skip


@router.get("/plan/again/{job}", include_in_schema=False)
def again(request: Request, job: str) -> Response:
    """A plan like that of a job, to be changed."""
    former = job_of(request, job)
    if not former.about.get("set") or sets_of(request).get(former.about["set"]) is None:
        raise HTTPException(404)
    return RedirectResponse(f"/plan/{former.about['set']}?like={former.id}", 303)


@router.post("/api/plan/{key}", tags=["plans"], status_code=201)
def start(request: Request, key: str, plan: plans.Plan) -> dict[str, object]:
    """Queue a training, or a race of several methods; its photos and settings are frozen now."""
    set_of(request, key)
    job = plans.queue(studio_of(request), catalogue_of(request), key, plan)
    return job_shown(studio_of(request), job) | {"go": f"/jobs/{job.id}"}


@router.get("/jobs/{key}", include_in_schema=False)
def go(request: Request, key: str) -> Response:
    """The page of what a job makes or, until there is anything, of the job."""
    studio, job = studio_of(request), job_of(request, key)
    shown = job_shown(studio, job)
    if shown["run"]:
        return RedirectResponse(f"/runs/{shown['run']}", 303)
    said = [words_of(request).told(line) for line in studio.library.folder(job).said(40)]
    return page(request, "job.html", here="runs", job=shown, said=said)


@router.post("/api/plan/{key}/advice", tags=["plans"])
def advise(request: Request, key: str, question: Question) -> dict[str, object]:
    """Have the photos looked at, and a few steps measured, by a job; ask for what it found at the next address."""
    studio, photos = studio_of(request), set_of(request, key)
    if not plans.WORDS.fullmatch(question.noun) or not plans.WORDS.fullmatch(question.token):
        raise forms.Wrong(
            "noun", "The noun and the token are made of letters, digits, dots and dashes.", code="noun.invalid"
        )
    for method in question.methods:
        if method not in METHODS:
            raise UsageError(f"There is no method {method!r}.", code="method.unknown", field="methods")
    source = studio.home.relative(photos.snapshot()[0])
    asked = plans.key_of(source, question.model_dump())
    known = next(
        (
            j
            for j in studio.library.all()
            if j.kind == "forecast" and j.about.get("asked") == asked and j.state not in ("failed", "stopped")
        ),
        None,
    )
    words = [question.base, question.noun, question.kind, question.token, source, *question.methods]
    job = known or studio.keeper.add(
        "forecast",
        words,
        device="main",
        module="booth.web.forecast",
        about={"asked": asked, "title": "", "base": question.base},
    )
    return {"job": job.id}


@router.get("/api/advice/{key}", tags=["plans"])
def advice(request: Request, key: str) -> dict[str, object]:
    """What is known by now: the advice, a word on the token, what methods cost."""
    studio, job = studio_of(request), job_of(request, key)
    told = _told(studio, job)
    remember(studio, job)
    said = words_of(request).told
    advice = next((line for line in told if line.get("kind") == "advice"), None)
    token = next((line for line in told if line.get("kind") == "token"), None)
    if advice is not None:
        advice["reasons"] = [reason | {"sentence": said(reason["sentence"])} for reason in advice["reasons"]]
        advice["warnings"] = [said(sentence) for sentence in advice["warnings"]]
    if token is not None:
        token["warnings"] = [said(sentence) for sentence in token["warnings"]]
    return {
        "state": job.state, "reason": said(job.reason), "advice": advice, "token": token,
        "costs": [_with_disk(line) for line in told if line.get("kind") == "cost"],
    }  # fmt: skip


def _with_disk(cost: dict[str, Any]) -> dict[str, Any]:
    return cost | ({"disk": disk_of(cost["artifact_bytes"])} if "artifact_bytes" in cost else {})


def _told(studio: Studio, job: Job) -> list[dict[str, Any]]:
    import json

    found: list[dict[str, Any]] = []
    for line in tail(studio.library.folder(job).stdout, 2**20):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def _costs(studio: Studio) -> dict[str, Any]:
    """What was measured on this machine, by base and method."""
    return read_json(studio.home.studio / "costs.json") or {}


def remember(studio: Studio, job: Job) -> None:
    """Keep what a job measured so far, whether or not a page waits for it."""
    costs = [line for line in _told(studio, job) if line.get("kind") == "cost" and "error" not in line]
    base, known = str(job.about.get("base", EMBEDDED)), _costs(studio)
    fresh = {line["method"]: {**line, "time": int(time.time())} for line in costs}
    if any(known.get(base, {}).get(m, {}).get("seconds") != c["seconds"] for m, c in fresh.items()):
        known[base] = known.get(base, {}) | fresh
        write_json(studio.home.studio / "costs.json", known)

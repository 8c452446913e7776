"""Runs: the list of them, and one of them live."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from booth.core.process import process_memory
from booth.web.commands import command_of
from booth.web.follow import Digest
from booth.web.jobs import Job
from booth.web.messages import words_of
from booth.web.pages.media import place_of
from booth.web.runs import Place, state_of
from booth.web.studio import Studio
from booth.web.view import page, studio_of

router = APIRouter()
LOOK = 0.6  # seconds between two looks at a run that somebody watches
QUIET = 15  # looks after which a comment is sent, so that a connection that is gone is noticed
LISTED = 60
ABOUT = 10_000_000  # bytes of memory that are told apart, so that not every look is a change


def told(studio: Studio, place: Place, digest: Digest) -> dict[str, object]:
    """A run as its page and scripts see it."""
    frozen, record = place.frozen(), place.record() or {}
    subject = frozen.get("subject") or record.get("subject") or {}
    return {
        "id": place.id,
        "name": place.name,
        "path": studio.home.relative(place.out),
        "state": state_of(place, digest),
        "method": frozen.get("method") or record.get("method") or "",
        "subject": " ".join(filter(None, [subject.get("token"), subject.get("noun")])),
        "base": (frozen.get("base") or record.get("base") or {}).get("name", ""),
        "device": frozen.get("device") or record.get("device") or "",
        "phase": digest.phase,
        "phase_done": digest.done,
        "phase_total": digest.total,
        "stages": digest.stages,
        "steps": digest.steps,
        "all_steps": digest.all_steps,
        "left": digest.seconds_left,
        "began": digest.began,
        "time": digest.time,
        "reason": str((digest.end or {}).get("reason", "")),
        "previews": [
            {"step": s, "count": len(p["files"]), "prompts": p["prompts"]} for s, p in sorted(digest.previews.items())
        ],
        "checkpoints": digest.checkpoints,
        "scores": [v for _, v in sorted(digest.scores.items())],
        "choice": digest.choice,
        "memory": ((frozen.get("memory") or {}).get("why") or ""),
        "peak": record.get("peak_memory_bytes"),
        "concept": place.is_concept,
    }


def live(studio: Studio, place: Place, digest: Digest) -> dict[str, Any]:
    """What changes while it runs."""
    more = {"losses": digest.curve(), "log": digest.log[-80:], "memory_now": memory_now(place, digest)}
    return told(studio, place, digest) | more


def memory_now(place: Place, digest: Digest) -> dict[str, int | None] | None:
    """What its process holds, and of a GPU's memory, in bytes and about; None where nothing runs."""
    process = place.process()
    held = process_memory(int(process["pid"])) if process is not None and process["host"] == platform.node() else None
    if held is None:
        return None
    return {"process": held - held % ABOUT, "device": digest.device_bytes}


def job_of_run(studio: Studio, place: Place) -> Job | None:
    """The studio's job that makes this concept; None for one from the command line."""
    out = studio.home.relative(place.out)
    return next((j for j in studio.library.all() if j.kind == "train" and j.about.get("out") == out), None)


@router.get("/runs", include_in_schema=False)
def index(request: Request) -> Response:
    """All runs, those of the command line too."""
    studio = studio_of(request)
    places = [p for p in studio.places.all() if p.has_run][:LISTED]
    return page(request, "runs.html", here="runs", runs=[told(studio, p, studio.places.digest(p)) for p in places])


@router.get("/runs/{key}", include_in_schema=False)
def one(request: Request, key: str) -> Response:
    """One run, as it is now; its script goes on from there."""
    studio, place = studio_of(request), place_of(request, key)
    digest = studio.places.digest(place)
    job = job_of_run(studio, place)
    values = {"run": _said(request, live(studio, place, digest)), "job": job, "command": _command(studio, place, job)}
    return page(request, "run.html", here="runs", **values)


def _command(studio: Studio, place: Place, job: Job | None) -> str:
    """What did the same on the command line."""
    if job is not None:
        return job.command
    asked = place.frozen().get("configuration")
    return command_of(asked, studio.home, place.out) if isinstance(asked, dict) else ""


@router.get("/api/runs", tags=["runs"])
def runs(request: Request) -> dict[str, object]:
    """Every run and concept of the studio's folder."""
    studio = studio_of(request)
    return {"runs": [told(studio, p, studio.places.digest(p)) for p in studio.places.all()]}


@router.get("/api/runs/{key}", tags=["runs"])
def state(request: Request, key: str) -> dict[str, Any]:
    """One run with its losses and its log."""
    studio, place = studio_of(request), place_of(request, key)
    return _said(request, live(studio, place, studio.places.digest(place))) | {"job": _job_state(request, place)}


def _said(request: Request, run: dict[str, Any]) -> dict[str, Any]:
    """A run with what the library said in the language of the page; places are named from the studio's folder on."""
    words, root = words_of(request), f"{studio_of(request).home.root}{os.sep}"

    def said(text: str) -> str:
        return words.told(text.replace(root, ""))

    log = [line | {"text": said(line["text"])} for line in run["log"]]
    return run | {"log": log, "reason": said(run["reason"])}


def _job_state(request: Request, place: Place) -> dict[str, Any] | None:
    job = job_of_run(studio_of(request), place)
    if job is None:
        return None
    return {"id": job.id, "state": job.state, "wanted": job.wanted, "reason": words_of(request).told(job.reason)}


@router.get("/api/runs/{key}/stream", tags=["runs"], response_class=StreamingResponse)
async def stream(request: Request, key: str) -> StreamingResponse:
    """Server-sent events: the run's state whenever it changed. Who comes back gets all of it anew."""
    place_of(request, key)

    async def changes() -> AsyncGenerator[str]:
        sent, idle = "", 0
        while not await request.is_disconnected():
            now = await asyncio.to_thread(state, request, key)
            text = json.dumps(now)
            if text != sent:
                yield f"event: state\ndata: {text}\n\n"
                sent, idle = text, 0
            else:
                idle += 1
            if now["state"] in ("done", "failed", "paused", "killed") and (now["job"] or {}).get("state") not in (
                "starting", "running", "saving", "queued"
            ):  # fmt: skip
                yield "event: over\ndata: {}\n\n"
                return
            if idle >= QUIET:
                yield ": still here\n\n"
                idle = 0
            await asyncio.sleep(LOOK)

    return StreamingResponse(changes(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

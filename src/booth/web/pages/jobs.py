"""The queue, and what can be done to a job."""

from __future__ import annotations

import signal
from typing import Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel

from booth.web.jobs import ACTIVE, Job
from booth.web.messages import words_of
from booth.web.studio import Studio
from booth.web.view import page, studio_of

router = APIRouter()


class Wish(BaseModel):
    """What is to be done with a job."""

    action: Literal["pause", "stop", "resume", "earlier", "later", "remove", "draw_now", "save_now"]


def job_of(request: Request, key: str) -> Job:
    """The job of an id, or 404."""
    job = studio_of(request).library.get(key)
    if job is None:
        raise HTTPException(404)
    return job


def shown(studio: Studio, job: Job) -> dict[str, object]:
    """A job as pages and scripts see it."""
    place = studio.places.of(studio.home.root / job.about["out"]) if job.about.get("out") else None
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "wanted": job.wanted,
        "reason": job.reason,
        "advice": job.advice,
        "command": job.command,
        "about": job.about,
        "created": job.created,
        "began": job.began,
        "ended": job.ended,
        "run": place.id if place is not None and place.has_run else None,
        "concept": place.id if place is not None and place.is_concept else None,
    }


@router.get("/queue", include_in_schema=False)
def queue(request: Request) -> Response:
    """What runs and what waits: a part of several pages."""
    studio = studio_of(request)
    jobs = [j for j in studio.library.all() if j.state in ACTIVE | {"queued", "paused", "failed"}]
    waiting = [j.id for j in studio.library.queued()]
    jobs.sort(key=lambda j: (j.state not in ACTIVE, waiting.index(j.id) if j.id in waiting else 999, -j.created))
    return page(request, "queue.html", jobs=[shown(studio, j) for j in jobs[:12]], waiting=waiting)


@router.get("/api/jobs", tags=["jobs"])
def jobs(request: Request) -> dict[str, object]:
    """Every job, the latest first."""
    studio = studio_of(request)
    return {"jobs": [shown(studio, job) for job in studio.library.all()]}


@router.get("/api/jobs/{key}", tags=["jobs"])
def one(request: Request, key: str) -> dict[str, object]:
    """A job with the last lines that it said, and its result once it has one."""
    studio, job = studio_of(request), job_of(request, key)
    folder, words = studio.library.folder(job), words_of(request)
    said, result = [words.told(line) for line in folder.said()], folder.result() if job.state == "done" else None
    return shown(studio, job) | {"reason": words.told(job.reason), "said": said, "result": result}


@router.post("/api/jobs/{key}", tags=["jobs"])
def act(request: Request, key: str, wish: Wish) -> dict[str, object]:
    """Pause, stop, resume, move in the queue, or take off the list; or have a training draw or save now."""
    studio, job = studio_of(request), job_of(request, key)
    keeper = studio.keeper
    if wish.action == "pause":
        keeper.pause(job)
    elif wish.action == "stop":
        keeper.cancel(job)
    elif wish.action == "resume":
        keeper.resume(job)
    elif wish.action in ("earlier", "later"):
        keeper.move(job, up=wish.action == "earlier")
    elif wish.action == "remove":
        keeper.forget(job)
        return {"removed": key}
    else:
        told = job.kind == "train" and job.state == "running"
        number = signal.SIGUSR1 if wish.action == "draw_now" else signal.SIGUSR2
        if not told or not keeper.tell(job, number):
            raise HTTPException(409)
    return shown(studio, job_of(request, key))

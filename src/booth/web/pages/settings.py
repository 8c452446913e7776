"""Settings and doctor: what this machine has, and a bundle for a report with nothing of the user in it."""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from booth.core.cache import cache_folder, empty, kept
from booth.core.children import environment, python
from booth.core.errors import NotAvailableError
from booth.web.photos import PhotoSets
from booth.web.studio import Studio
from booth.web.view import page, studio_of

router = APIRouter()
WAIT = 120
JOBS = 10  # of the bundle
SECRET = re.compile(r"(hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9-]{8,}|gh[pousr]_[A-Za-z0-9]{8,}|(?<=token=)[\w-]{8,})")
PATHLIKE = re.compile(
    r"(?:(?:FOLDER|HOME)|(?<![\w.])(?:~|[A-Za-z]:)?[/\\][\w.@+-]+)"
    r"(?:[/\\][\w.@+-]+(?:(?: [\w.@+-]+)+(?=[/\\]))?)+[/\\]?"
)


@router.get("/settings", include_in_schema=False)
def index(request: Request) -> Response:
    """The page; what the doctor finds comes after it."""
    studio = studio_of(request)
    usage = {"photos": studio.home.photos, "concepts": studio.home.concepts, "studio": studio.home.studio}
    return page(
        request, "settings.html", here="settings", folder=str(studio.home.root), assistant=studio.training_by_assistant,
        usage={name: _bytes(folder) for name, folder in usage.items()}, cache=kept(), cache_folder=str(cache_folder()),
        address=f"http://127.0.0.1:{studio.door.port}/mcp",
    )  # fmt: skip


@router.get("/settings/doctor", include_in_schema=False)
def doctor(request: Request) -> Response:
    """What this machine has and what is missing: a part of the page."""
    return page(request, "doctor.html", found=_examined())


@router.get("/api/doctor", tags=["settings"])
def examined() -> dict[str, object]:
    """What `booth doctor --json` says."""
    return _examined()


def _examined() -> dict[str, Any]:
    try:
        done = subprocess.run(
            python("booth", "doctor", "--json"), capture_output=True, timeout=WAIT, check=False, env=environment()
        )
        return json.loads(done.stdout.decode().strip().splitlines()[-1])
    except (ValueError, IndexError, subprocess.TimeoutExpired) as error:
        raise NotAvailableError(
            "The doctor gave no answer.", "Run `booth doctor` in a terminal.", code="studio.no_doctor"
        ) from error


@router.post("/api/cache/empty", tags=["settings"])
def empty_cache(request: Request) -> dict[str, object]:
    """Let go of what later runs would find and can make again; not while something runs that may be reading it."""
    studio = studio_of(request)
    if studio.library.active() or any(place.process() is not None for place in studio.places.all()):
        raise NotAvailableError(
            "Something runs that may be using the cache.", "Wait until it is done.", code="studio.cache_in_use"
        )
    return {"freed": empty(), "reload": True}


@router.get("/api/bundle", tags=["settings"])
def bundle(request: Request) -> Response:
    """What a report of a defect needs, as text, with paths, names and tokens of the user removed."""
    studio = studio_of(request)
    about: dict[str, Any] = {"made": int(time.time()), "doctor": _examined(), "jobs": _jobs(studio)}
    text = json.dumps(Redaction(studio)(about), indent=1, ensure_ascii=False)
    headers = {"content-disposition": 'attachment; filename="booth-diagnostics.json"'}
    return Response(text, media_type="application/json", headers=headers)


def _jobs(studio: Studio) -> list[dict[str, Any]]:
    """The latest jobs: how they ended and what they said, not what they were about."""
    return [
        {
            "kind": j.kind,
            "state": j.state,
            "reason": j.reason,
            "words": [w.split("=")[0] for w in j.argv if w.startswith("--")],
            "said": studio.library.folder(j).said(30),
        }
        for j in studio.library.all()[:JOBS]
    ]


class Redaction:
    """Takes the studio's token, other secrets, paths, and the names of the user, the machine and the concepts out."""

    def __init__(self, studio: Studio) -> None:
        self._token = studio.door.token
        paths = [(str(studio.home.root), "FOLDER"), (str(Path.home()), "HOME")]
        self._paths = [(path, name) for path, name in paths if len(path) > 1]
        names = {_user(), platform.node(), os.environ.get("HOSTNAME", ""), *_names(studio)}
        self._names = sorted((name for name in names if len(name) > 2), key=len, reverse=True)

    def __call__(self, value: Any) -> Any:
        """A value of JSON with every text in it redacted."""
        if isinstance(value, dict):
            return {self(key): self(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self(inner) for inner in value]
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        told = SECRET.sub("SECRET", text.replace(self._token, "TOKEN"))
        for path, name in self._paths:
            told = told.replace(path, name)
        told = PATHLIKE.sub("PATH", told)
        for name in self._names:
            told = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "NAME", told)
        return told


def _names(studio: Studio) -> set[str]:
    """What the user called things: subjects, concepts, sets of photos."""
    jobs = studio.library.all()
    found = {str(job.about.get("title") or "") for job in jobs} | {p.name for p in studio.places.all()}
    found |= {s.name for s in PhotoSets(studio.home).all()}
    found |= {w.partition("=")[2] for job in jobs for w in job.argv if w.startswith("--token=")}
    return found - {"sks"}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _bytes(folder: Path) -> int:
    """What a folder takes, links not counted."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            file = Path(place) / name
            if not file.is_symlink() and file.exists():
                total += file.stat().st_size
    return total

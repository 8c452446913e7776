"""Starts jobs, one at a time on each device, and watches them: whoever killed what, no job stays in a false state."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from booth.core.children import environment, python
from booth.core.commit import verify
from booth.core.errors import BoothError
from booth.core.process import process_started, this_process
from booth.web.home import Home
from booth.web.jobs import ACTIVE, OVER, Job, new_job
from booth.web.library import Library
from booth.web.runs import Places, state_of

PULSE = 0.4  # seconds between two looks
GRACE = 20.0  # seconds after which a stopped job that is no training is ended at once
CLAIM = 30.0  # seconds within which a process that was started says so
HIDDEN = ("BOOTH_STUDIO_TOKEN",)  # never in a child's environment
ENDINGS: dict[str, str] = {  # advice by exit code, as keys of the messages
    "65": "advice.photos", "69": "advice.missing", "70": "advice.not_finite", "71": "advice.memory",
    "72": "advice.damaged", "74": "advice.disk",
}  # fmt: skip


class Keeper:
    """The queue and its processes. All changes to jobs go through here, under one lock."""

    def __init__(self, home: Home, library: Library, places: Places) -> None:
        self.home, self.library, self.places = home, library, places
        self.checks: dict[str, Callable[[Job, dict[str, Any]], str | None]] = {}  # by kind: what is wrong with a result
        self.after: dict[str, Callable[[Job], object]] = {}  # by kind: what follows one that is done
        self.before: dict[str, Callable[[Job], str | None]] = {}  # by kind: why it cannot start
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._asked: dict[str, float] = {}  # when a job was asked to end
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.changes = 0  # counts up with every change, for those who wait for one

    def start(self) -> None:
        """Adopt what runs, mark what died, and go on with the queue."""
        self.look()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; the jobs go on without us."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._over.wait(PULSE):
            with suppress(OSError, sqlite3.Error):  # of a full disk: the next look tries again
                self.look()

    def look(self) -> None:
        """What became of the jobs that run; then start the next ones."""
        with self._lock:
            for job in self.library.active():
                self._look_at(job)
            busy = {job.device for job in self.library.active()} | self._taken_elsewhere()
            for job in self.library.queued():
                if job.device not in busy:
                    busy.add(job.device)
                    self._begin(job)

    def _taken_elsewhere(self) -> set[str]:
        """The devices on which trainings run that the studio did not start."""
        if not self.library.queued():
            return set()
        ours = {str(job.about.get("out")) for job in self.library.active()}
        others = [p for p in self.places.all() if self.home.relative(p.out) not in ours and p.process() is not None]
        return {str((place.frozen().get("configuration") or {}).get("device") or "main") for place in others}

    def add(self, kind: str, argv: list[str], *, key: str | None = None, **more: Any) -> Job:
        """Queue a command, under a key of its own or a given one."""
        with self._lock:
            return self._put(new_job(kind, argv, key, **more))

    def _put(self, job: Job) -> Job:
        self.changes += 1
        return self.library.put(job)

    def _begin(self, job: Job) -> None:
        check = self.before.get(job.kind)
        if check is not None and (problem := check(job)):
            self._put(replace(job, state="failed", reason=problem, ended=time.time(), advice="advice.photos"))
            return
        folder = self.library.folder(job)
        self._put(
            replace(job, state="starting", began=time.time(), ended=None, reason="", advice="", problems=[], wanted="")
        )
        try:
            with folder.stdout.open("wb") as out, folder.stderr.open("ab") as said:
                child = subprocess.Popen(
                    python("booth.web.worker", str(folder.path), job.module, *job.words),
                    cwd=self.home.root, env=environment(hidden=HIDDEN), start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=out, stderr=said,
                )  # fmt: skip
        except OSError as error:
            self._put(replace(job, state="failed", reason=str(error), ended=time.time(), advice="advice.again"))
            return
        self._children[job.id] = child
        process = this_process() | {"pid": child.pid, "started": process_started(child.pid)}
        now = self.library.get(job.id) or job
        self._put(replace(now, process=process))
        self.places.forget()

    def _look_at(self, job: Job) -> None:
        child = self._children.get(job.id)
        if child is None and job.process is None:
            found = self.library.folder(job).claimed(job.began or 0)
            if found is None and time.time() - (job.began or 0) < CLAIM:
                return  # its process is about to say which it is
            job = self._put(replace(job, process=found)) if found is not None else job
        over = child.poll() is not None if child is not None else not job.alive
        if over:
            self._finish(job, child.returncode if child is not None else None)
            self._children.pop(job.id, None)
            self._asked.pop(job.id, None)
            return
        state = self._state(job)
        if state != job.state:
            self._put(replace(job, state=state))
        asked = self._asked.get(job.id)
        if job.wanted == "stopped" and job.kind != "train" and asked and time.monotonic() - asked > GRACE:
            self._signal(job, signal.SIGKILL)

    def _state(self, job: Job) -> str:
        if job.kind != "train" or "out" not in job.about:
            return "running"
        place = self.places.of(self.home.root / job.about["out"])
        state = state_of(place, self.places.digest(place)) if place.has_run else "starting"
        return state if state in ACTIVE else "starting" if job.state == "starting" else job.state

    def _finish(self, job: Job, code: int | None) -> None:
        """Done only if the result is there and whole; else what it was, in its own words."""
        self.places.forget()
        result, ended = self.library.folder(job).result(), time.time()
        told = {"ended": ended, "process": None}
        if result is not None and "error" not in result and code in (0, None):
            problem = self._problem(job, result)
            state = "failed" if problem else "done"
            advice = "advice.again" if problem else ""
            self._put(replace(job, **told, state=state, reason=problem or "", advice=advice))
            if state == "done" and job.kind in self.after:
                self.after[job.kind](job)
            return
        told["problems"] = (result or {}).get("problems") or []
        reason = _in_own_words(told["problems"]) or str((result or {}).get("error") or "")
        if job.wanted:
            self._put(replace(job, **told, state=job.wanted, reason=reason))
            return
        exit_code = str((result or {}).get("exit_code", code if code is not None else ""))
        if exit_code in ("130", "143"):  # somebody else asked it to end
            self._put(replace(job, **told, state="paused" if job.kind == "train" else "stopped", reason=reason))
            return
        if not reason:
            said = self.library.folder(job).said(3)
            reason = said[-1] if said and code not in (None, -9) else ""
        kind = "advice.killed" if not reason or code == -signal.SIGKILL else ENDINGS.get(exit_code, "advice.again")
        self._put(replace(job, **told, state="failed", reason=reason, advice=kind))

    def _problem(self, job: Job, result: dict[str, Any]) -> str | None:
        """What is wrong with what a job left."""
        if job.kind == "train":
            try:
                verify(self.home.root / str(job.about.get("out", result.get("concept", ""))))
            except BoothError as error:
                return str(error)
        check = self.checks.get(job.kind)
        return check(job, result) if check else None

    def pause(self, job: Job) -> None:
        """Ask a training to save a checkpoint and end; it can go on."""
        self._ask_to_end(job, "paused")

    def cancel(self, job: Job) -> None:
        """End it: what is saved stays."""
        self._ask_to_end(job, "stopped")

    def _ask_to_end(self, job: Job, wanted: str) -> None:
        with self._lock:
            job = self.library.get(job.id) or job
            if job.state == "queued" or (job.state == "paused" and wanted == "stopped"):
                self._put(replace(job, state=wanted, ended=time.time()))
            elif job.state in ACTIVE:
                self._put(replace(job, wanted=wanted))
                self._asked.setdefault(job.id, time.monotonic())
                self._signal(job, signal.SIGINT if job.kind == "train" else signal.SIGTERM)

    def tell(self, job: Job, number: int) -> bool:
        """Send a signal to a job's process, if it is the one that was started."""
        with self._lock:
            return self._signal(job, number)

    def _signal(self, job: Job, number: int) -> bool:
        if job.process is None or not job.alive:
            return False
        with suppress(ProcessLookupError, PermissionError):
            os.kill(int(job.process["pid"]), number)
            return True
        return False

    def resume(self, job: Job) -> None:
        """Queue it again: a training goes on from its last checkpoint."""
        with self._lock:
            job = self.library.get(job.id) or job
            if job.state in OVER | {"paused"}:
                resumed = job.kind == "train" and job.state != "done"
                again = replace(
                    job,
                    state="queued",
                    order=time.time(),
                    resumed=resumed,
                    wanted="",
                    reason="",
                    advice="",
                    problems=[],
                )
                self._put(replace(again, ended=None))

    def move(self, job: Job, up: bool) -> None:
        """Change places with the neighbour in the queue."""
        with self._lock:
            waiting = self.library.queued()
            at = next((i for i, other in enumerate(waiting) if other.id == job.id), None)
            other = None if at is None else at + (-1 if up else 1)
            if at is None or other is None or not 0 <= other < len(waiting):
                return
            mine, theirs = waiting[at], waiting[other]
            self._put(replace(mine, order=theirs.order))
            self._put(replace(theirs, order=mine.order))

    def forget(self, job: Job) -> Path | None:
        """Take a job that is over, or waits, out of the list; its folder goes to the trash."""
        with self._lock:
            job = self.library.get(job.id) or job
            if job.state in ACTIVE:
                return None
            self.library.remove(job)
            self.changes += 1
            place = self.home.trash / f"job-{job.id}"
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.library.folder(job).path, place)
            return place


def _in_own_words(problems: list[dict[str, Any]]) -> str:
    """What a command told of its errors, with fields instead of its options."""
    told = "\n".join(f"{p.get('sentence', '')} {p.get('advice', '')}".strip() for p in problems)
    return re.sub(r"`(\w+)`", r"\1", told)

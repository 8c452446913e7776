"""An index of the jobs in SQLite: quick to ask, and made again from the folders whenever it is missing or damaged."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import asdict
from pathlib import Path

from booth.web.home import ID, Home
from booth.web.jobs import ACTIVE, Job, JobFolder

FILE = "library.sqlite"
TABLES = """
CREATE TABLE IF NOT EXISTS job (id TEXT PRIMARY KEY, state TEXT NOT NULL, place REAL NOT NULL, told TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS job_state ON job (state, place);
"""


class Library:
    """The jobs of a home. Each change is written into the job's folder first, and then here."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._lock = threading.RLock()
        self._open()
        self.rebuild()

    def _open(self) -> None:
        file = self.home.studio / FILE
        try:
            self._base = self._connect(file)
        except sqlite3.DatabaseError:  # damaged: nothing is in it that the folders do not hold
            for suffix in ("", "-wal", "-shm"):
                file.with_name(file.name + suffix).unlink(missing_ok=True)
            self._base = self._connect(file)

    def _connect(self, file: Path) -> sqlite3.Connection:
        base = sqlite3.connect(file, timeout=10, check_same_thread=False, isolation_level=None)
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=NORMAL")
        base.executescript(TABLES)
        return base

    def rebuild(self) -> None:
        """Make the index from the folders."""
        found = [job for folder in self._folders() if (job := JobFolder(folder).read()) is not None]
        with self._lock:
            self._base.execute("BEGIN")
            self._base.execute("DELETE FROM job")
            for job in found:
                self._insert(job)
            self._base.execute("COMMIT")

    def _folders(self) -> list[Path]:
        home = self.home.jobs
        return [p for p in home.iterdir() if ID.fullmatch(p.name) and p.is_dir() and not p.is_symlink()]

    def _insert(self, job: Job) -> None:
        told = json.dumps(asdict(job))
        self._base.execute("INSERT OR REPLACE INTO job VALUES (?, ?, ?, ?)", (job.id, job.state, job.order, told))

    def folder(self, job: Job | str) -> JobFolder:
        """The folder of a job."""
        return JobFolder(self.home.jobs / (job if isinstance(job, str) else job.id))

    def put(self, job: Job) -> Job:
        """Keep it."""
        with self._lock:
            self.folder(job).write(job)
            self._insert(job)
        return job

    def get(self, key: str) -> Job | None:
        """The job of an id."""
        rows = self._ask("SELECT told FROM job WHERE id = ?", key)
        return rows[0] if rows else None

    def all(self) -> list[Job]:
        """Every job, the latest first."""
        return sorted(self._ask("SELECT told FROM job"), key=lambda job: -job.created)

    def queued(self) -> list[Job]:
        """Those that wait, the next one first."""
        return self._ask("SELECT told FROM job WHERE state = 'queued' ORDER BY place, id")

    def active(self) -> list[Job]:
        """Those that have a process, or had one when somebody last looked."""
        return [job for job in self._ask("SELECT told FROM job") if job.state in ACTIVE]

    def remove(self, job: Job) -> None:
        """Forget it; its folder is the caller's."""
        with self._lock:
            self._base.execute("DELETE FROM job WHERE id = ?", (job.id,))

    def _ask(self, query: str, *values: object) -> list[Job]:
        with self._lock:
            rows = self._base.execute(query, values).fetchall()
        found = (json.loads(told) for (told,) in rows)
        return [Job(**(values | {"argv": tuple(values["argv"])})) for values in found]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._base.close()

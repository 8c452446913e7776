"""A job: a command of booth that a child process runs, and the folder in which everything about it stands.

`job.json` is frozen when it is queued, `state.json` is what became of it, `stdout` and `stderr` are the process's. All
of it can be read without the studio, and the studio's own index can be made again from it.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from booth.core.process import is_running
from booth.web.runs import read_json

ACTIVE = frozenset({"starting", "running", "saving"})
OVER = frozenset({"done", "failed", "stopped"})
STATES = frozenset({"queued", "paused"}) | ACTIVE | OVER
PROCESS = "process.json"
TAIL = 8192  # bytes of what a process said that are looked at


@dataclass(frozen=True)
class Job:
    """What was asked, and what became of it."""

    id: str
    kind: str  # train, generate, export, ...
    argv: tuple[str, ...]  # behind `booth`
    device: str = "main"
    module: str = "booth"  # what runs it, behind `python -m`
    about: dict[str, Any] = field(default_factory=dict[str, Any])  # for the page: subject, method, out, ...
    created: float = 0.0
    # what became of it
    state: str = "queued"
    order: float = 0.0  # the lowest queued one is next
    process: dict[str, Any] | None = None  # pid, started, host
    began: float | None = None
    ended: float | None = None
    reason: str = ""  # why it failed, was paused or stopped
    advice: str = ""  # a key of the messages: what to do
    problems: list[dict[str, Any]] = field(
        default_factory=list[dict[str, Any]]
    )  # errors as values, where it tells them
    wanted: str = ""  # paused or stopped, once that was asked for
    resumed: bool = False  # whether it goes on from a checkpoint

    @property
    def command(self) -> str:
        """What does the same on the command line, in the studio's folder."""
        start = ["booth"] if self.module == "booth" else ["python", "-m", self.module]
        return shlex.join([*start, *self.words])

    @property
    def words(self) -> list[str]:
        """The words behind `booth`, with --resume where it goes on."""
        words = list(self.argv)
        if self.resumed:
            words.insert(1, "--resume")
        return words

    @property
    def alive(self) -> bool:
        """Whether its process runs: the number and the start of it are the same."""
        return self.process is not None and is_running(self.process)


FROZEN = ("id", "kind", "argv", "device", "module", "about", "created")


def new_job(kind: str, argv: list[str], key: str | None = None, **more: Any) -> Job:
    """A job with an id that nobody can guess, behind all others."""
    now = time.time()
    return Job(key or secrets.token_hex(6), kind, tuple(argv), created=now, order=now, **more)


class JobFolder:
    """The folder of one job."""

    def __init__(self, folder: Path) -> None:
        self.path = folder

    @property
    def stdout(self) -> Path:
        """What the command prints: its last line is a JSON object."""
        return self.path / "stdout"

    @property
    def stderr(self) -> Path:
        """What the command says."""
        return self.path / "stderr"

    def write(self, job: Job) -> None:
        """Keep what became of it; what was asked is written once."""
        values = asdict(job)
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "job.json").is_file():
            write_json(self.path / "job.json", {key: values[key] for key in FROZEN})
        write_json(self.path / "state.json", {k: v for k, v in values.items() if k not in FROZEN})

    def read(self) -> Job | None:
        """The job; None where its folder is damaged."""
        asked, became = read_json(self.path / "job.json"), read_json(self.path / "state.json")
        if became is None:  # it vanished: whoever took the job up knows more than nobody
            process = self.claimed(0)
            became = {"state": "running", "process": process} if process is not None else {}
        if asked is None or any(key not in asked for key in FROZEN) or asked["id"] != self.path.name:
            return None
        known = Job.__dataclass_fields__
        values: dict[str, Any] = {k: v for k, v in (became | asked).items() if k in known}
        values["argv"] = tuple(asked["argv"])
        job = Job(**values)
        return job if job.state in STATES else replace(job, state="failed", reason="unknown state")

    def claim(self, process: Mapping[str, object]) -> None:
        """Keep which process does it, as that process says itself."""
        write_json(self.path / PROCESS, process)

    def claimed(self, began: float) -> dict[str, object] | None:
        """The process that took the job up since then; None before one did."""
        file = self.path / PROCESS
        try:
            fresh = file.stat().st_mtime >= began - 1
        except OSError:
            return None
        told = read_json(file) if fresh else None
        return told if told is not None and {"pid", "started", "host"} <= told.keys() else None

    def result(self) -> dict[str, Any] | None:
        """The object that the command printed last, once it did."""
        for line in reversed(tail(self.stdout, 2**20)):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            return value if isinstance(value, dict) else None
        return None

    def said(self, lines: int = 12) -> list[str]:
        """The last lines that its process wrote for people."""
        return [plain(line) for line in tail(self.stderr) if line.strip()][-lines:]


def tail(file: Path, most: int = TAIL) -> list[str]:
    """The last lines of a file; a bar that was drawn over itself leaves its last state."""
    try:
        with file.open("rb") as data:
            data.seek(0, os.SEEK_END)
            data.seek(max(0, data.tell() - most))
            text = data.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n") if line.strip()]


def plain(text: str) -> str:
    """Without what moves a terminal's cursor or paints."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def write_json(file: Path, values: Mapping[str, object]) -> None:
    """Write it whole or not at all."""
    work = file.with_name(f".{file.name}.tmp-{os.getpid()}")
    try:
        work.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        os.replace(work, file)
    finally:
        work.unlink(missing_ok=True)

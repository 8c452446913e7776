"""A run of a study: what it is, where its result lies, whether that is there, and whose it is while it goes on."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from booth.compare.experiment import Arm, run_file
from booth.core.errors import UsageError
from booth.events import Reporter
from booth.registry import METHODS


@dataclass(frozen=True)
class Where:
    """The folders of a study."""

    results: Path
    work: Path
    photographs: Path | None


@dataclass(frozen=True)
class StudyRun:
    """A subject that is taught in one arm with one seed."""

    study: str
    seed: int
    subject: str
    arm: str

    def file(self, results: Path) -> Path:
        """Where its result is."""
        return run_file(results, self.subject, self.arm, self.seed)

    def tell_begun(self, reporter: Reporter) -> None:
        """That it begins."""
        told = f"{self.study}: {self.arm} is taught {self.subject} with seed {self.seed}."
        reporter.emit("run", **asdict(self), status="begun", text=told)

    def tell_ended(self, result: Mapping[str, object], reporter: Reporter) -> None:
        """How it ended; nothing where another process has it."""
        if result.get("status") == "failed":
            reporter.emit("run", "warning", **asdict(self), status="failed", text=f"It failed: {result['error']}")
        elif result:
            reporter.emit("run", "debug", **asdict(self), status="done")


def is_there(file: Path, arm: Arm, about: dict[str, Any], scale: str) -> bool:
    """Whether the run has a result; UsageError where it was made otherwise than it would be now."""
    if not file.is_file():
        return False
    found = json.loads(file.read_text())
    if found["status"] == "failed":
        return False
    taught = Arm.model_validate({key: value for key, value in found["arm"].items() if key != "name"})
    differs = [*(["arm"] if taught != arm else []), *(key for key in ("base", "setting") if found[key] != about[key])]
    if arm.method is not None and not differs:
        kind = METHODS[arm.method]
        now = kind.Config(**kind.defaults(scale) | arm.settings).model_dump(mode="json")
        open_ended = {"steps"} if arm.until == "done" else set[str]()
        then = {key: value for key, value in found["settings"].items() if key not in open_ended}
        differs = [f"{key} of {arm.method}" for key, value in then.items() if now.get(key) != value]
    if differs:
        raise UsageError(
            f"{file} was made with another {' and '.join(differs)}.",
            "Delete it to have it made again.",
            code="study.other_settings",
            field="results",
        )
    return True


@contextmanager
def claimed(folder: Path) -> Iterator[Path | None]:
    """The run's folder while it is this process's alone; None if another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        yield folder

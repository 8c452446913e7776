"""A run of a study: what it is, where its result lies, whether that is there, and whose it is while it goes on."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from booth.compare.experiment import Arm, Study, run_file, runs_of
from booth.core.encoder import Encoder
from booth.core.errors import UsageError
from booth.evaluate.encoders import load_encoders
from booth.events import Reporter
from booth.registry import ENCODERS, METHODS


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
    encoders: Sequence[str] = ()  # that look at it beside those that are used unnamed

    def file(self, results: Path) -> Path:
        """Where its result is."""
        return run_file(results, self.subject, self.arm, self.seed)

    def seen_by(self, usual: Sequence[Encoder], named: Sequence[Encoder]) -> list[Encoder]:
        """The encoders that are used unnamed, and of those that studies name the ones that are asked for this run."""
        more = {encoder.name: encoder for encoder in named if encoder.name in self.encoders}
        return list(({encoder.name: encoder for encoder in usual} | more).values())

    def tell_begun(self, reporter: Reporter) -> None:
        """That it begins."""
        told = f"{self.study}: {self.arm} is taught {self.subject} with seed {self.seed}."
        reporter.emit("run", **self._named(), status="begun", text=told)

    def tell_ended(self, result: Mapping[str, object], reporter: Reporter) -> None:
        """How it ended; nothing where another process has it."""
        if result.get("status") == "failed":
            reporter.emit("run", "warning", **self._named(), status="failed", text=f"It failed: {result['error']}")
        elif result:
            reporter.emit("run", "debug", **self._named(), status="done")

    def _named(self) -> dict[str, Any]:
        return {"study": self.study, "seed": self.seed, "subject": self.subject, "arm": self.arm}


def runs_asked(studies: Sequence[Study]) -> Iterator[StudyRun]:
    """Every run of every study, each with the encoders of all studies that share it."""
    asked: dict[tuple[int, str, str], dict[str, None]] = {}
    for study in studies:
        for run in runs_of(study):
            asked.setdefault(run, {}).update(dict.fromkeys(study.encoders))
    for study in studies:
        for run in runs_of(study):
            yield StudyRun(study.name, *run, tuple(asked[run]))


def load_named(names: Sequence[str]) -> list[Encoder]:
    """The encoders that studies name, if any; NotAvailableError for one that is not here."""
    return load_encoders(names) if names else []


def is_there(file: Path, arm: Arm, about: dict[str, Any], scale: str, encoders: Sequence[str] = ()) -> bool:
    """Whether the run has a result; UsageError where it was made otherwise than it would be now.

    Otherwise is also without one of these encoders.
    """
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
    lacking = [name for name in encoders if name not in encoders_of([found])]
    if differs or lacking:
        how = [*([f"with another {' and '.join(differs)}"] if differs else []), *(f"without {e}" for e in lacking)]
        raise UsageError(
            f"{file} was made {' and '.join(how)}.",
            "Delete it to have it made again.",
            code="study.other_settings",
            field="results",
        )
    return True


def encoders_of(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The encoders whose names the metrics carry."""
    names = {n.rpartition("/")[2] for run in runs for scores in run["metrics"].values() for n in scores}
    return sorted(name for name in names if name in ENCODERS)


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

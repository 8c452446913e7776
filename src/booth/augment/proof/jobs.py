"""Jobs: plain configurations in, one JSON file of a result out. What has a result of the same is not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from booth.augment.state import digest, read_json, write_json
from booth.core.json_values import Json


@dataclass(frozen=True)
class Job:
    """One training of one classifier, told by its configuration alone."""

    config: dict[str, Any]
    folder: Path

    @property
    def file(self) -> Path:
        """Where its result is."""
        parts = (self.config["classifier"], self.config["arm"].replace(":", "-").replace(" ", "-"))
        return self.folder / f"fold-{self.config['fold']}" / "runs" / f"{'-'.join(parts)}-{digest(self.config)}.json"

    @property
    def result(self) -> dict[str, Json] | None:
        """What came of it, if it was run."""
        found = read_json(self.file)
        return found["result"] if found is not None and found.get("config") == self.config else None


Run = Callable[[Sequence[Job]], Iterable[tuple[Job, dict[str, Any]]]]  # what comes of jobs, in any order


def run_jobs(jobs: Sequence[Job], run: Run, tell: Callable[[str], None] = lambda _: None) -> list[dict[str, Json]]:
    """The results of jobs that do not depend on each other, in their order; `run` tells each when it has it."""
    missing = [job for job in jobs if job.result is None]
    for i, (job, result) in enumerate(run(missing), start=1):
        write_json(job.file, {"config": job.config, "result": result})
        config = job.config
        tell(
            f"{i}/{len(missing)} fold {config['fold']}, {config['classifier']}, {config['arm']}"
            f"{' ' + _chosen(config['choice']) if config['choice'] else ''}: validation {result['validation']:.3f} at "
            f"step {result['step']}, {result['seconds']:.0f} s."
        )
    found = [job.result for job in jobs]
    assert all(result is not None for result in found)
    return [result for result in found if result is not None]


def _chosen(choice: dict[str, Any]) -> str:
    return f"(strength {choice['strength']:g}, {choice['filter']}, {choice['ratio']:g} a real one)"

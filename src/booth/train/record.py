"""The end of a run: weights, samples and the record become a concept, all at once."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from booth.concept import Concept
from booth.core.commit import committed, package_versions
from booth.core.concept import RECORD, ConceptRecord, StageRecord
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.method import MethodConfig, Stage
from booth.events import Reporter
from booth.train.samples import Scenes, draw_samples
from booth.train.timing import Clock, peak_memory


@dataclass(frozen=True)
class TrainResult:
    """The numbers that a run is judged by."""

    concept: str
    method: str
    steps: int
    seconds: float
    seconds_per_step: float
    peak_memory_bytes: int
    artifact_bytes: int
    final_loss: float | None

    @classmethod
    def of(cls, concept: Concept) -> TrainResult:
        """Read them from a concept's record."""
        r = concept.record
        numbers = (r.steps, r.seconds, r.seconds_per_step, r.peak_memory_bytes, r.artifact_bytes, r.final_loss)
        return cls(str(concept.folder), r.method, *numbers)

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        return asdict(self)


def mean_of_last(losses: list[float | None]) -> float | None:
    """The mean over the last tenth of the losses, because a single one says little; None if none was finite."""
    last = [x for x in losses[-max(1, len(losses) // 10) :] if x is not None]
    return math.fsum(last) / len(last) if last else None


def write_concept(
    out: Path,
    model: Family,
    plan: list[Stage],
    clock: Clock,
    reporter: Reporter,
    *,
    name: str,
    device: str,
    history: list[float | None],
    previews: Path,
    scenes: Scenes,
    needed: int,
    stopped: int | None = None,
    keep: Callable[[Path, Path], None],
    aside: Path | None = None,
    **known: Any,
) -> Concept:
    """Commit the whole folder at once; `known` are the fields of ConceptRecord that the caller knows best.

    `stopped` is the step after which the last stage was found done, if it was. `keep` is called last, with the folder
    and where it is going to be, to add what is told of the run. A concept that is there goes to `aside`.
    """
    with committed(out, {"kind": "concept"}, needed, aside) as folder:
        with clock.part("save"):
            taken = [stage.method.config.steps for stage in plan[:-1]] + [stopped or plan[-1].method.config.steps]
            stages = [_write_stage(model, plan, i, folder, history, taken) for i in range(len(plan))]
            sizes = {file: (folder / file).stat().st_size for file in _files(folder)}
        with clock.part("samples"):
            draw_samples(model, scenes, known["seed"], folder / "samples", reporter.progress)
            if previews.is_dir():
                shutil.copytree(previews, folder / "samples" / previews.name)
        steps = sum(stage.steps for stage in stages)
        record = ConceptRecord(
            name=name,
            family=model.name,
            prompt=plan[-1].method.subject.prompt,
            stages=stages,
            steps=steps,
            device=device,
            final_loss=stages[-1].final_loss,
            seconds=clock.total,
            seconds_per_step=clock.seconds["train"] / steps,
            peak_memory_bytes=peak_memory(device),
            artifact_bytes=sum(sizes.values()),
            sizes=sizes,
            timings=dict(clock.seconds),
            versions=package_versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            **known,
        )
        (folder / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        keep(folder, out)
    return Concept(out, record)


def _write_stage(
    model: Family, plan: list[Stage], index: int, folder: Path, history: list[float | None], taken: list[int]
) -> StageRecord:
    """Write one stage's weights and say which files they are."""
    stage = plan[index]
    config: MethodConfig = stage.method.config
    before = set(_files(folder))
    stage.method.write(model, folder)
    first = sum(taken[:index])
    return StageRecord(
        name=stage.name,
        method=stage.method.name,
        settings=config.model_dump(mode="json"),
        folder=".",
        files=sorted(set(_files(folder)) - before),
        steps=taken[index],
        final_loss=mean_of_last(history[first : first + taken[index]]),
        coverage={name: dict(kinds) for name, kinds in stage.method.coverage(model).items()},
    )


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

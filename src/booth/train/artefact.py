"""The end of a run: weights, samples and the record become a concept, all at once."""

from __future__ import annotations

import contextlib
import gc
import math
import shutil
import sys
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from booth.concept import Concept
from booth.core.commit import committed, package_versions
from booth.core.concept import RECORD, ConceptRecord, StageRecord
from booth.core.family import Family
from booth.core.method import MethodConfig, Stage, Subject
from booth.data.captions import with_subject
from booth.data.hints import Hints
from booth.data.photos import PhotoSet
from booth.generate.draw import STEPS, draw
from booth.generate.png import SAMPLERS, parameters_text, save_png
from booth.generate.prompts import file_names

CONTEXTS = ("", " on the beach", " in the jungle", " in the snow")  # what is drawn of every subject
THINGS = ("", " of a dog", " of a teapot", " of the beach")  # and in every style


@dataclass(frozen=True)
class Scenes:
    """What is drawn of a run, whenever it is drawn: the subject in a few contexts, or hints to follow."""

    prompts: list[str]
    hints: list[list[Image]]  # of each ControlNet in place, one a prompt

    @classmethod
    def of(cls, subject: Subject, hints: Hints | None, photos: list[PhotoSet], side: int) -> Scenes:
        """Each subject in several places, or several things in a style; with hints, each one's first few pictures.

        `photos` are those of each of `subject.all`.
        """
        if hints is None:
            return cls([prompt for s in subject.all for prompt in sample_prompts(s)], [])
        shown = [(s, p) for s, each in zip(subject.all, photos, strict=True) for p in each.photos[: len(CONTEXTS)]]
        prompts = [with_subject(p.caption, s) if p.caption else s.prompt for s, p in shown]
        return cls(prompts, [[hints.of(p, side) for _, p in shown]])


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

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Clock:
    """Seconds spent on each part of a run, parts before a resume included."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._before = 0.0
        self._began = time.perf_counter()

    @contextlib.contextmanager
    def part(self, name: str) -> Generator[None]:
        """Count what happens within this context as `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - began)

    def add(self, name: str, seconds: float) -> None:
        """Count `seconds` as `name`."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @property
    def total(self) -> float:
        """Wall time of the whole run."""
        return self._before + time.perf_counter() - self._began

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"total": self.total, "parts": self.seconds}

    def load_state(self, values: dict[str, Any]) -> None:
        """Add what was spent before a resume."""
        self._before += values["total"]
        for name, seconds in values["parts"].items():
            self.add(name, seconds)


def sample_prompts(subject: Subject) -> list[str]:
    """Four prompts that show what was learned: the subject in several places, or several things in the style."""
    if subject.kind == "style":
        return [f"a picture{thing} in {subject.name}" for thing in THINGS]
    return [f"{subject.prompt}{context}" for context in CONTEXTS]


def draw_samples(model: Family, scenes: Scenes, seed: int, folder: Path) -> list[Path]:
    """Draw the scenes, each with a seed of its own that is always the same; a broken picture stops no training."""
    folder.mkdir(parents=True, exist_ok=True)
    prompts = scenes.prompts
    seeds = [seed + i for i in range(len(prompts))]
    files = [folder / name for name in file_names(prompts, seeds)]
    drawn = draw(model, prompts, seeds, hints=scenes.hints, require_finite=False)
    for picture, file, prompt, s in zip(drawn, files, prompts, seeds, strict=True):
        size = f"{picture.width}x{picture.height}"
        sampler = SAMPLERS[model.sampler]
        how = {"Steps": STEPS, "Sampler": sampler, "CFG scale": model.guidance, "Seed": s, "Size": size}
        save_png(picture, file, parameters_text(prompt, "", how))
    return files


def mean_of_last(losses: list[float | None]) -> float | None:
    """The mean over the last tenth of the losses, because a single one says little; None if none was finite."""
    last = [x for x in losses[-max(1, len(losses) // 10) :] if x is not None]
    return math.fsum(last) / len(last) if last else None


def forget_peak_memory(device: str) -> None:
    """Count memory from here on, so that a run does not answer for those before it in the same process.

    On macOS the system keeps the highest mark of the whole process.
    """
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        with contextlib.suppress(OSError):  # some containers hide it; the mark is then the process's
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: str) -> int:
    """The most bytes that were taken at once: on the GPU, or else by this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def write_concept(
    out: Path,
    model: Family,
    plan: list[Stage],
    clock: Clock,
    *,
    name: str,
    device: str,
    history: list[float | None],
    previews: Path,
    scenes: Scenes,
    needed: int,
    stopped: int | None = None,
    **known: Any,
) -> Concept:
    """Commit the whole folder at once; `known` are the fields of ConceptRecord that the caller knows best.

    `stopped` is the step after which the last stage was found done, if it was.
    """
    with committed(out, {"kind": "concept"}, needed) as folder:
        with clock.part("save"):
            taken = [stage.method.config.steps for stage in plan[:-1]] + [stopped or plan[-1].method.config.steps]
            stages = [_write_stage(model, plan, i, folder, history, taken) for i in range(len(plan))]
            sizes = {file: (folder / file).stat().st_size for file in _files(folder)}
        with clock.part("samples"):
            draw_samples(model, scenes, known["seed"], folder / "samples")
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
    )


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

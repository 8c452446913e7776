"""What a step of each method costs on this machine, and how long it takes to begin and to draw."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from booth import __version__
from booth.bench.live import LiveTensors, tensors_of
from booth.bench.shapes import random_base
from booth.config.settings import method_config
from booth.core.children import environment, python
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.method import Method, Subject
from booth.core.precision import DTYPES, choose_precision
from booth.core.resources import cores
from booth.data.own_predictions import Untouched
from booth.families.layout import DiffusersFamily
from booth.families.memory import Part, needed_bytes, task_of
from booth.registry import METHODS, OPTIMIZERS
from booth.session import Session
from booth.train import setup
from booth.train.estimate import Speed, Stand, rehearsed, seconds_per_picture, untouched_for
from booth.train.loop import training_steps
from booth.train.plan_state import PlanState

WARM = 2  # steps that are thrown away
SIDES = {"cpu": 1024, "cuda": 4096}  # of the matrices that the rate is measured with
LONG = 0.5  # seconds of multiplying, of which the best counts


@dataclass(frozen=True)
class Row:
    """A stage of a method: what one of its steps costs."""

    method: str
    rows: int  # of a micro-batch, class rows included
    seconds: float
    error: float  # the standard error of that
    gigaflop: float
    share: float  # of the rate at which this machine multiplies matrices
    peak_bytes: int  # of tensors that were alive at once, weights included
    planned_bytes: int  # what a memory plan counts for the same


@dataclass(frozen=True)
class Bench:
    """One machine, one base."""

    booth: str
    torch: str
    created: str
    processor: str
    device: str
    cores: int
    threads: int
    load: float | None  # how many processes wanted to compute in the last minute, as the system counts; None = unknown
    base: str
    parameters: int
    side: int  # of a picture, in pixels
    precision: str
    gigaflop_per_second: float  # of multiplying large matrices in that precision
    start_seconds: float | None  # from a command to the first line of a training, without the base
    load_seconds: float
    picture_seconds: float | None
    methods: list[Row] = field(default_factory=list[Row])

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> Bench:
        """What `to_json` returned."""
        known: dict[str, Any] = values | {"methods": [Row(**row) for row in values["methods"]]}
        return cls(**known)

    @property
    def name(self) -> str:
        """Of its file among those of other machines and bases."""
        words = f"{self.processor} {self.device} {self.cores} {Path(self.base).name} {self.precision}".lower()
        return "-".join("".join(c if c.isalnum() else " " for c in words).split())


def bench(
    base: str = "embedded",
    *,
    shape: str | None = None,
    methods: Sequence[str] = (),
    steps: int = 8,
    settings: dict[str, Any] | None = None,
    device: str = "cpu",
    precision: str | None = None,
    draws: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> Bench:
    """Measure `steps` steps of each method, or of all that the base takes; none of them is kept.

    With a `shape`, the name of a published base, its weights are random and nothing is downloaded. The base is held in
    the precision that is computed in. UsageError for a method or a shape that there is not, or that does not fit.
    """
    precision, load = choose_precision(precision, device), load_average()
    if load is not None and load > cores():
        tell(f"warning: this machine is busy (load {load:.1f} on {cores()} cores): what follows holds for a busy one.")
    tell("Measuring how fast this machine begins, and how fast it multiplies matrices.")
    start, rate = start_seconds(), matrix_rate(device, DTYPES[precision])
    began = time.perf_counter()
    with _base(base, shape, device, DTYPES[precision]) as model:
        loaded = time.perf_counter() - began
        rows: list[Row] = []
        for name in methods or [n for n in METHODS.usable() if _fits(n, model)]:
            tell(f"Measuring {name}.")
            rows += _measured(name, model, steps, settings or {}, device, precision, rate)
        picture = None
        if draws:
            tell("Drawing.")
            picture = round(seconds_per_picture(model), 3)
        return Bench(
            booth=__version__,
            torch=torch.__version__,
            created=datetime.now(UTC).date().isoformat(),
            processor=processor(device),
            device=device,
            cores=cores(),
            threads=torch.get_num_threads(),
            load=load,
            base=shape or base,
            parameters=sum(p.numel() for module in model.components().values() for p in module.parameters()),
            side=model.resolution,
            precision=precision,
            gigaflop_per_second=digits(rate / 1e9),
            start_seconds=start,
            load_seconds=round(loaded, 3),
            picture_seconds=picture,
            methods=rows,
        )


def digits(value: float, count: int = 4) -> float:
    """A number of so many digits."""
    return float(f"{value:.{count}g}")


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """FLOP/s of multiplying two large square matrices, the best of several."""
    side = SIDES["cuda" if device.startswith("cuda") else "cpu"]
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(side, side, generator=generator).to(device, dtype) for _ in range(2))
    taken: list[float] = []
    while not taken or sum(taken) < LONG:
        began = time.perf_counter()
        torch.mm(one, other)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - began)
    return 2 * side**3 / min(taken)


def start_seconds() -> float | None:
    """From the start of a process to the moment when a training could load its base; None where none can be started."""
    began = time.perf_counter()
    try:
        subprocess.run(python("booth.train.run"), check=True, capture_output=True, env=environment())
    except (OSError, subprocess.CalledProcessError):
        return None
    return round(time.perf_counter() - began, 2)


def load_average() -> float | None:
    """Of the last minute, before anything is measured."""
    return digits(os.getloadavg()[0], 3) if hasattr(os, "getloadavg") else None


def processor(device: str) -> str:
    """What computes, by the name that its maker gave it."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


@contextmanager
def _base(base: str, shape: str | None, device: str, dtype: torch.dtype) -> Iterator[Family]:
    if shape is None:
        with Session(base, device) as session, session.model(dtype) as model:
            yield model
    else:
        with TemporaryDirectory() as folder:
            yield random_base(shape, Path(folder), device, dtype)


def _fits(name: str, model: Family) -> bool:
    return all(model.sites.has(site) for site in METHODS[name].needs)


def _measured(
    name: str, model: Family, steps: int, settings: dict[str, Any], device: str, precision: str, rate: float
) -> list[Row]:
    """A row for each stage of a method."""
    kind: type[Method] = METHODS.named(name)
    known = {key: value for key, value in settings.items() if key in kind.Config.model_fields}
    method = kind(method_config(name, model.scale, known), Subject("sks", "dog"))
    plan = method.plan()
    state = PlanState(model, plan, 0, lambda: setup.make_scaler(precision))
    rows: list[Row] = []
    untouched = untouched_for(state, setup.autocast_type(precision))
    try:
        for stage in plan:
            title = name if len(plan) == 1 else f"{name}, {stage.name}"
            rows.append(_row(title, state, untouched, steps, device, precision, rate))
            state.close()
    finally:
        state.detach()
    return rows


def _row(
    title: str, state: PlanState, untouched: Untouched | None, steps: int, device: str, precision: str, rate: float
) -> Row:
    model, stage, update = state.model, state.stage, state.open()
    stand = Stand(model, stage)
    batches, ahead = rehearsed(state, stand, untouched, WARM + steps)
    model.remember_embeddings(not stage.method.reads_prompts)
    how: dict[str, Any] = {"seed": state.seed, "autocast": setup.autocast_type(precision)}
    made = list(training_steps(model, batches, update, start=0, stop=WARM + steps, **how))
    if not all(step.updated for step in made):
        raise UsageError(
            f"A step of {title} was not finite in {precision}.",
            "Measure it with `precision=fp32`.",
            code="bench.not_finite",
            field="precision",
        )
    speed = Speed.of([step.seconds for step in made][WARM:]).and_always(ahead)
    held = [tensor for module in model.components().values() for tensor in tensors_of(module)]
    kept = [value for entry in update.optimizer.state.values() for value in entry.values() if torch.is_tensor(value)]
    for base in (model, untouched):
        if base is not None:
            base.pack_layers(False)  # whose products nobody counts
    flops = FlopCounterMode(display=False)
    with LiveTensors([*held, *update.parameters().values(), *kept]) as live, flops:
        list(training_steps(model, batches, update, start=0, stop=1, **how))
    if untouched is not None:
        untouched.pack_layers(True)
    count = flops.get_total_flops()
    config = stage.method.config
    return Row(
        method=title,
        rows=stand.rows,
        seconds=digits(speed.mean),
        error=digits(speed.error, 2),
        gigaflop=digits(count / 1e9),
        share=digits(count / speed.mean / rate),
        peak_bytes=live.most,
        planned_bytes=planned(model, stage.method, precision, device, config.gradient_checkpointing),
    )


def planned(model: Family, method: Method, precision: str, device: str, checkpointing: bool) -> int:
    """What a memory plan counts for a method on a base that is held in this precision, nothing being let go."""
    assert isinstance(model, DiffusersFamily)
    half = 2 if precision != "fp32" else 4
    task = task_of(method, [], side=model.resolution, activation=half, device=device)
    parts: dict[str, Part] = {}
    for name, module in model.components().items():
        first = next(module.parameters())
        values = sum(p.numel() for p in module.parameters())
        parts[name] = Part(values, 0, float32=name == "vae" and first.dtype == torch.float32)
    kept = OPTIMIZERS[method.config.optimizer].state_bytes
    return round(needed_bytes(parts, type(model), task, precision, False, checkpointing, kept))

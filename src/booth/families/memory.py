"""The plans by which teaching a base may fit into memory, counted from the headers of its files; nothing is loaded."""

from __future__ import annotations

import importlib.util
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from booth.core.errors import BadDataError, UsageError
from booth.core.method import Method
from booth.families.autoencoder import config_of, needs_float32
from booth.families.files import weight_files
from booth.families.quantised import BITSANDBYTES, can_be_quantised
from booth.families.recognition import recognise
from booth.registry import FAMILIES, OPTIMIZERS

BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}  # a value of the frozen weights
# A value of a quantised layer with its share of the scales: one a row, which is next to nothing, or for 64 values one
# of 8 bits, and one of 32 bits for 256 of those (Dettmers et al., 2305.14314, section 3).
QUANTISED = {"int8": 1.0, "nf4": 0.5 + (1 + 4 / 256) / 64}
WEIGHT, GRADIENT = 4, 4  # of a trained value, always in float32
ENCODER_HALF = ("conv_in.", "time_embedding.", "add_embedding.", "down_blocks.", "mid_block.")  # what ControlNet copies


@dataclass(frozen=True)
class Part:
    """How many values a part of a base holds, and how many of these lie in linear layers, which can be quantised."""

    values: int
    linear: int
    encoder_half: int = 0  # of a U-Net
    float32: bool = False  # whether it stays in float32 whatever the rest is in, as autoencoders that would overflow

    def bytes(self, precision: str) -> float:
        """What it takes, frozen; what is not quantised is in bf16 then."""
        if self.float32:
            return self.values * BYTES["fp32"]
        if precision in BYTES:
            return self.values * BYTES[precision]
        return self.linear * QUANTISED[precision] + (self.values - self.linear) * BYTES["bf16"]


@dataclass(frozen=True)
class Task:
    """What of a run decides how much memory it takes, beside the base."""

    side: int  # of a picture, in pixels
    rows: int = 1  # of a micro-batch, class rows included
    activation: int = 4  # bytes of an activation: 4, or 2 in mixed precision
    trained: tuple[Literal["denoiser", "text_encoders"], ...] = ()  # whole; what is small beside them is not counted
    copies_encoder: bool = False  # trains a copy of the U-Net's encoder half, as ControlNet
    reads_prompts: bool = False  # needs the text encoders at every step
    over_quantised: bool = False  # can be trained over quantised layers
    device: str = "cpu"
    half: str = "bf16"  # what plans hold frozen weights in that are not in float32: bf16 or fp16
    optimizer: str | None = None  # where it is fixed
    gradient_checkpointing: bool | None = None  # likewise
    processes: int = 1  # over which the denoiser is sharded, and the rows with it


@dataclass(frozen=True)
class MemoryPlan:
    """One way of teaching, and the most that it takes at once: loading and encoding, training, or drawing."""

    base_precision: str  # fp32, bf16, fp16, int8 or nf4
    frees: bool  # whether the parts that the steps do not need are let go after encoding, and read again for drawing
    gradient_checkpointing: bool
    optimizer: str | None  # none = the method's own
    bytes: int
    fits: bool
    missing: str | None = None  # why it cannot be taken here, and how it could

    @property
    def name(self) -> str:
        """How it is asked for: --set memory=bf16+freed+checkpointing."""
        words = [self.base_precision, "freed" * self.frees, "checkpointing" * self.gradient_checkpointing]
        return "+".join(filter(None, [*words, self.optimizer]))


# From the cheapest to run to the dearest. What is let go has to be read again whenever pictures are drawn, bf16 loses
# digits, checkpointing makes a second forward pass, and quantised weights are unpacked at every use.
LADDER = (
    ("fp32", False, False, None),
    ("fp32", True, False, None),
    ("bf16", False, False, None),
    ("bf16", True, False, None),
    ("bf16", True, True, None),
    ("bf16", True, True, "adamw8bit"),
    ("int8", True, True, None),
    ("nf4", True, True, None),
)


def ladder(task: Task) -> list[tuple[str, bool, bool, str | None]]:
    """The plans for a task, from the cheapest to run to the dearest.

    Under mixed precision on a GPU frozen weights in float32 would be cast anew at every step, so that they come last.
    """
    plans = [
        (task.half if precision == "bf16" else precision, frees, recomputes, optimizer)
        for precision, frees, recomputes, optimizer in LADDER
    ]
    if task.device.startswith("cuda") and task.activation == BYTES[task.half] and not task.trained:
        plans.sort(key=lambda plan: plan[0] == "fp32")
    return plans


def task_of(
    method: Method,
    given: Iterable[str],
    *,
    side: int,
    activation: int = 4,
    device: str = "cpu",
    half: str = "bf16",
    processes: int = 1,
) -> Task:
    """What a method takes, all its stages together; `given` names the settings that no plan may change."""
    stages = [stage.method for stage in method.plan()]
    given, heavy = set(given), [m for m in stages if m.trains_denoiser]
    encoders = any(m.trains_text_encoders for m in heavy)
    return Task(
        side=side,
        rows=max(m.config.batch_size * (2 if m.config.prior_weight > 0 else 1) for m in stages),
        activation=activation,
        trained=(("denoiser",) if heavy else ()) + (("text_encoders",) if encoders else ()),
        copies_encoder=any(m.copies_encoder for m in stages),
        reads_prompts=any(m.reads_prompts for m in stages),
        over_quantised=all(m.over_quantised for m in stages),
        device=device,
        half=half,
        optimizer=method.config.optimizer if "optimizer" in given else None,
        gradient_checkpointing=method.config.gradient_checkpointing if "gradient_checkpointing" in given else None,
        processes=processes,
    )


def memory_plans(folder: Path, task: Task, available: int) -> list[MemoryPlan]:
    """Every plan for a task that its fixed settings allow, from the cheapest to run to the dearest.

    `available` is in bytes. What is counted are weights, gradients, the optimiser's moments and the activations of the
    denoiser; what is left out are short-lived buffers, the autoencoder's activations, and adapters.
    """
    family: Any = FAMILIES[recognise(folder)]
    parts = parts_of(folder)
    plans: dict[str, MemoryPlan] = {}
    for precision, frees, checkpointing, optimizer in ladder(task):
        if precision in QUANTISED and not task.over_quantised:
            continue
        if task.processes > 1 and (precision in QUANTISED or optimizer is not None):
            continue  # what is quantised in blocks cannot be cut anywhere
        if optimizer is not None and (task.optimizer is not None or not (task.trained or task.copies_encoder)):
            continue
        given = checkpointing if task.gradient_checkpointing is None else task.gradient_checkpointing
        kept = OPTIMIZERS[task.optimizer or optimizer or "adamw"].state_bytes
        needed = round(needed_bytes(parts, family, task, precision, frees, given, kept))
        missing = _missing(task.device) if precision in QUANTISED or optimizer is not None else None
        plan = MemoryPlan(precision, frees, given, optimizer, needed, needed <= available or not available, missing)
        plans.setdefault(plan.name, plan)
    return list(plans.values())


def choose(plans: Iterable[MemoryPlan], name: str = "auto", base_precision: str | None = None) -> MemoryPlan:
    """The plan of that name or, for "auto", the first that fits and can be taken; if none fits, the smallest.

    UsageError for a name that is no plan here, or for a precision that no plan has.
    """
    plans = list(plans)
    wanted = [p for p in plans if name in ("auto", p.name) and base_precision in (None, p.base_precision)]
    if not wanted:
        asked = f"memory={name}" + (f" with base_precision={base_precision}" if base_precision else "")
        raise UsageError(
            f"There is no plan {asked} for this method and these settings.",
            f"There are: auto, {', '.join(p.name for p in plans)}.",
            code="memory.unknown",
            field="memory",
        )
    if name != "auto" or base_precision in QUANTISED:
        return wanted[0]  # asked for: what is missing is then told by what needs it
    able = [p for p in wanted if p.missing is None]
    return next((p for p in able if p.fits), min(able, key=lambda p: p.bytes))


def drawing_bytes(folder: Path, precision: str = "fp32") -> dict[str, int]:
    """What the weights take on a GPU that draws, by how parts wait for their turn: "none", "model", "sequential"."""
    sizes = [round(part.bytes(precision)) for part in parts_of(folder).values()]
    largest = max(largest_tensors(folder)) * BYTES[precision]
    return {"none": sum(sizes), "model": max(sizes), "sequential": round(largest)}


def choose_offload(folder: Path, available: int, precision: str = "fp32") -> str:
    """The first of those that fits into `available` bytes, for the next one is slower; "sequential" if none does."""
    found = drawing_bytes(folder, precision)
    return next((how for how, needed in found.items() if needed <= available), "sequential")


def native_side(folder: Path) -> int:
    """Side of the pictures that a base was made for, in pixels, as the loaded family has it."""
    family: Any = FAMILIES[recognise(folder)]
    network, vae = _config(folder / family.denoiser[0]), _config(folder / "vae")
    return network.get("sample_size", family.latents) * family.latent_side(vae)


def parts_of(folder: Path) -> dict[str, Part]:
    """The parts of a diffusers folder that are loaded, by name; BadDataError for one without weights."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    family: Any = FAMILIES[recognise(folder)]
    for name, files in weight_files(folder, family).items():
        found[name] = {tensor: shape for file in files for tensor, shape in _shapes(file).items()}
    whole = {"vae"} if needs_float32(family.Autoencoder, config_of(folder)) else set[str]()
    return {name: _part(name, shapes, name in whole) for name, shapes in found.items()}


def values_of_parts(folder: Path) -> dict[str, int]:
    """How many values each part of a diffusers folder holds, by the part's name."""
    return {name: part.values for name, part in parts_of(folder).items()}


def largest_tensors(folder: Path) -> Iterator[int]:
    """How many values the largest tensor of each file holds."""
    files = chain.from_iterable(weight_files(folder, FAMILIES[recognise(folder)]).values())
    return (max(map(math.prod, _shapes(file).values()), default=0) for file in files)


def needed_bytes(
    parts: Mapping[str, Part], family: Any, task: Task, precision: str, frees: bool, checkpointing: bool, kept: int
) -> float:
    """Bytes of the hungriest moment; the optimiser keeps `kept` of each trained value."""
    kinds = {family.denoiser[0]: "denoiser", **dict.fromkeys(family.encoders, "text_encoders")}
    held = {name: 1 / (task.processes if name == family.denoiser[0] else 1) for name in parts}  # by each process
    frozen = {n: held[n] * part.bytes(precision) for n, part in parts.items() if kinds.get(n) not in task.trained}
    taught = sum(held[name] * part.values for name, part in parts.items() if kinds.get(name) in task.trained)
    taught += parts[family.denoiser[0]].encoder_half if task.copies_encoder else 0
    drawn_with = {"vae", *getattr(family, "beside", ())}
    gone = {*drawn_with, *(() if task.reads_prompts else family.encoders)} if frees else set[str]()
    fixed, per_pixel = family.kept[checkpointing]
    activations = task.rows / task.processes * (fixed + per_pixel * task.side**2) * task.activation
    staying = sum(size for name, size in frozen.items() if name not in gone)
    training = staying + taught * (WEIGHT + GRADIENT + kept) + activations
    drawing = sum(frozen.values()) + taught * (WEIGHT + kept)
    return max(training, drawing)  # what is loaded and encoded with is no more than what is drawn with


def _missing(device: str) -> str | None:
    """Why bitsandbytes cannot be used."""
    if not device.startswith("cuda"):
        return "needs a CUDA device"
    return None if importlib.util.find_spec("bitsandbytes") else f"needs bitsandbytes: {BITSANDBYTES}"


def _config(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise BadDataError(
            f"{folder / 'config.json'} cannot be read.", "Get the base again.", code="base.incomplete", field="base"
        ) from error


def _part(name: str, shapes: Mapping[str, tuple[int, ...]], float32: bool) -> Part:
    layers = {n: s for n, s in shapes.items() if n.endswith(".weight") and len(s) == 2 and can_be_quantised(n)}
    half = sum(math.prod(s) for n, s in shapes.items() if n.startswith(ENCODER_HALF))
    linear = 0 if name == "vae" else sum(map(math.prod, layers.values()))
    return Part(sum(map(math.prod, shapes.values())), linear, half, float32)


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a safetensors file, read from its header alone."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > file.stat().st_size:
                raise ValueError("a header longer than its file")
            header: dict[str, Any] = json.loads(stream.read(length))
    except (struct.error, ValueError) as error:
        raise BadDataError(
            f"{file} is not a whole .safetensors file.", "Get it again.", code="base.incomplete", field="base"
        ) from error
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}

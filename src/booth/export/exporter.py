"""An exporter: what it accepts, what it writes, how that is proved, and which of its files can be imported."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from booth.core.concept import ConceptRecord
from booth.core.errors import NotAvailableError, UsageError
from booth.core.tensor_files import write_tensors
from booth.export.base_files import BaseFiles, Shapes
from booth.export.check import Check
from booth.export.layer import Layer
from booth.export.parts import Parts
from booth.families.loading import EMBEDDED, base_hash, earlier_embedded

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
UNETS = ("stable_diffusion", "stable_diffusion_xl")  # the families with a U-Net, which the older programs draw with


@dataclass(frozen=True)
class Job:
    """One export."""

    folder: Path  # of the concept
    record: ConceptRecord
    parts: Parts
    base: BaseFiles | None  # None where it is not on this machine
    precision: str = "fp32"
    rank: int = 16  # of a LoRA extracted from whole weights

    @property
    def dtype(self) -> torch.dtype:
        """What is written."""
        return PRECISIONS[self.precision]

    @property
    def shapes(self) -> Shapes:
        """The base's weights; without it, those that the concept's own layers imply."""
        if self.base is not None:
            return self.base.shapes
        return {
            component: {f"{module}.weight": layer.shape for module, layer in modules.items()}
            for component, modules in self.parts.layers.items()
        }

    def need_base(self, why: str) -> BaseFiles:
        """The very base of the concept; NotAvailableError without it, UsageError where its content differs by now."""
        if self.base is None:
            raise NotAvailableError(
                f"{why} needs the base {self.record.base.name!r}, which is not on this machine.",
                "Fetch it first.",
                code="base.not_here",
                field="base",
            )
        if base_hash(self.base.folder) != self.record.base.hash:
            if self.record.base.name == EMBEDDED:
                raise earlier_embedded(self.folder, self.record.base.hash)
            raise UsageError(
                f"{why} needs the base that {self.folder} was taught to, and {self.base.folder} has another content by "
                "now.",
                "Restore it, or train the concept again.",
                code="base.changed",
                field="base",
            )
        return self.base

    def weight_of(self, component: str, module: str, layer: Layer) -> Tensor:
        """What a layer's update is added to: the base's weight, or zeros where only the shape matters."""
        name = f"{module}.weight"
        if layer.magnitude is not None:
            return self.base_state(component)[name]
        return torch.zeros(self.shapes.get(component, {}).get(name) or layer.shape)

    def changed(self, component: str) -> dict[str, Tensor]:
        """A component's whole state in float32 with all that was trained in it."""
        if component in self.parts.weights:
            return {name: t.float() for name, t in self.parts.weights[component]().items()}
        state = {name: t.float() for name, t in self.base_state(component).items()}
        for module, layer in self.parts.layers.get(component, {}).items():
            weight = state[f"{module}.weight"]
            state[f"{module}.weight"] = (weight.double() + layer.change(weight)).float()
            if layer.bias is not None:
                state[f"{module}.bias"] = state[f"{module}.bias"] + layer.bias.float()
            if layer.scales_bias is not None and f"{module}.bias" in state:
                state[f"{module}.bias"] = state[f"{module}.bias"] * layer.scales_bias.float()
        return state

    def base_state(self, component: str) -> dict[str, Tensor]:
        """A component of the base, as stored."""
        return self.need_base("This export").tensors(component)


@dataclass(frozen=True)
class Loaded:
    """What a model holds once a program has loaded a file, by the independent reading of it."""

    weights: dict[str, dict[str, Tensor]] = field(default_factory=dict[str, dict[str, Tensor]])  # by component
    rows: dict[str, Tensor] = field(default_factory=dict[str, Tensor])  # token table: (n, dim)


class Exporter(ABC):
    """One target format."""

    name: ClassVar[str]
    title: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]  # who reads it, at least for some families
    accepts: ClassVar[frozenset[str]]  # any of these fields of Parts
    families: ClassVar[tuple[str, ...]]  # whose concepts it can hold
    suffix: ClassVar[str] = ".safetensors"  # "" for a folder
    architecture: ClassVar[str] = "lora"  # ModelSpec's word behind the slash; "" for a whole model

    def lost(self, job: Job) -> list[str]:
        """What the target cannot hold, in words; the rest of the concept must be worth writing."""
        kinds = {"rows": "the token's rows (write them with `to=embedding`)", "layers": "the adapter",
                 "weights": "the fine-tuned weights", "hypernetwork": "the hypernetwork",
                 "control": "the ControlNet"}  # fmt: skip
        return [*(kinds[kind] for kind in sorted(job.parts.kinds - self.accepts)), *job.parts.other]

    def require(self, job: Job) -> None:
        """UsageError unless the concept has something that the target holds, on a base that it knows."""
        if job.parts.other and not job.parts.kinds:
            raise UsageError(
                f"{job.folder} holds {job.parts.other[0]}, which no other program's file can hold.",
                "Draw with it here, or train a LoRA.",
                code="export.no_place",
                field="to",
            )
        if not job.parts.kinds & self.accepts:
            raise UsageError(
                f"{job.folder} holds {', '.join(sorted(job.parts.kinds)) or 'no weights'}, and {self.name} is for "
                f"{', '.join(sorted(self.accepts))}.",
                "Choose another format; `listed` shows what goes where.",
                code="export.other_kind",
                field="to",
            )
        if job.record.family not in self.families:
            raise UsageError(
                f"{self.title} is known for {', '.join(self.families)}, not for {job.record.family}.",
                "Choose another format; `listed` shows what goes where.",
                code="export.other_family",
                field="to",
            )

    @abstractmethod
    def tensors(self, job: Job) -> dict[str, Tensor]:
        """What is to be written, by the target's names."""

    @abstractmethod
    def check(self, job: Job, file: Path) -> Check:
        """Read the written file as the target would, and compare."""

    def file_name(self, job: Job) -> str:
        """How the file is called unless the user says otherwise."""
        return f"{plain_name(job.record.name)}-{self.name}{self.suffix}"

    def read_by(self, job: Job) -> tuple[str, ...]:
        """Who reads the file of this very concept."""
        return self.programs

    def write(self, job: Job, tensors: dict[str, Tensor], file: Path, header: dict[str, str]) -> None:
        """Write what `tensors` made."""
        write_tensors(tensors, file, {"format": "pt", **header})

    def loaded(self, job: Job, file: Path) -> Loaded | None:
        """What a program draws with that has loaded the written file; None where no pipeline of diffusers could."""
        return None


class TwoWay(Exporter):
    """A format whose files booth imports too."""

    @abstractmethod
    def recognises(self, names: Mapping[str, Tensor]) -> bool:
        """Whether a foreign file with these tensors is of this format."""

    @abstractmethod
    def read(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shapes: Shapes
    ) -> tuple[Parts, list[str]]:
        """The parts in a foreign file of this format, and the keys that are none; `shapes` are the base's."""


def plain_name(words: str) -> str:
    """A concept's own words as a file name: it may come from somebody else, and lead out of the folder."""
    return re.sub(r"[^\w.-]", "", words).lstrip(".-") or "concept"


def stamp(check: Check) -> str:
    """A check as one line of JSON for a header."""
    return json.dumps(check.to_json(), sort_keys=True)

"""A LoRA extracted from a fine-tuned model: the best low-rank approximation of its difference from the base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from booth.core.errors import UsageError
from booth.core.safe_file import read_tensors
from booth.export.check import Check
from booth.export.exporter import UNETS, Exporter, Job, Loaded
from booth.export.layer import Layer
from booth.export.lora.programs import PROGRAMS
from booth.export.lora.write import check_layers, layer_tensors, merged, original_spelling, prefixes_for
from booth.export.parts import Parts


@dataclass(frozen=True)
class Extraction:
    """What a low rank keeps."""

    parts: Parts
    kept: float  # share of the squared change
    beside: int  # changed tensors that no adapter reaches: norms, biases, embeddings

    def lost(self, rank: int) -> list[str]:
        """What it does not keep, in words; nothing where it keeps all."""
        if self.kept >= 1 - 1e-6:
            return []
        return [
            f"{1 - self.kept:.1%} of the squared change at rank {rank}, {self.beside} norms and biases included (a "
            "larger `rank` keeps more; `to=checkpoint` keeps all)"
        ]


class Extracted(Exporter):
    """Truncated singular value decomposition of each layer's change (Eckart and Young), under kohya's keys."""

    name = "extracted"
    title = "a LoRA extracted from whole weights"
    programs = tuple(PROGRAMS)
    accepts = frozenset({"weights"})
    families = UNETS

    def __init__(self) -> None:
        self._extraction: Extraction | None = None

    def lost(self, job: Job) -> list[str]:
        return [*super().lost(job), *self._extract(job).lost(job.rank)]

    def tensors(self, job: Job) -> dict[str, Tensor]:
        prefixes, spelled = prefixes_for(job.shapes), original_spelling(job)
        found: dict[str, Tensor] = {}
        for component, modules in self._extract(job).parts.layers.items():
            for module, layer in modules.items():
                name = spelled.get(module, module) if component == "unet" else module
                found |= layer_tensors(f"{prefixes[component]}_{name.replace('.', '_')}", layer, job.dtype)
        return found

    def check(self, job: Job, file: Path) -> Check:
        """That the file holds the approximation; how good it is, `lost` tells."""
        return check_layers(job, read_tensors(file)[0], self._extract(job).parts, self.programs)

    def loaded(self, job: Job, file: Path) -> Loaded | None:
        return merged(job, read_tensors(file)[0])

    def _extract(self, job: Job) -> Extraction:
        if self._extraction is None:
            self._extraction = extract(job)
        return self._extraction


def extract(job: Job) -> Extraction:
    """Approximate what a fine-tuning changed; UsageError where it changed nothing."""
    base = job.need_base("An extraction")
    reached = {
        (slot.component, slot.module) for slots in PROGRAMS["ComfyUI"].names(base.shapes).values() for slot in slots
    }
    parts = Parts()
    whole = kept = 0.0
    beside = 0
    for component in sorted(job.parts.weights):
        former = base.tensors(component)
        for name, tensor in job.changed(component).items():
            change = tensor.double() - former[name].double()
            energy = float(change.square().sum())
            whole += energy
            module = name.removesuffix(".weight")
            if energy == 0:
                continue
            if (component, module) not in reached or change.ndim < 2:
                beside += 1
                continue
            layer = approximate(change, job.rank)
            parts.layers.setdefault(component, {})[module] = layer
            kept += energy - float((change - layer.change(change)).square().sum())
    if not parts.layers:
        raise UsageError(
            f"{job.folder} does not differ from its base in any layer, so nothing can be extracted.",
            code="export.nothing_learned",
            field="concept",
        )
    return Extraction(parts, kept / whole, beside)


def approximate(change: Tensor, rank: int) -> Layer:
    """The closest layer of a rank to a change (out, in, ...); both factors get the root of the singular values.

    A layer too small for the rank is filled up with zeros: diffusers reads alphas wrongly where ranks differ.
    """
    u, s, v = torch.linalg.svd(change.flatten(1), full_matrices=False)
    r = min(rank, len(s))
    root = s[:r].sqrt()
    up = F.pad((u[:, :r] * root).float(), (0, rank - r))
    down = F.pad((root[:, None] * v[:r]).float(), (0, 0, 0, rank - r))
    if change.ndim == 4:
        up, down = up[:, :, None, None], down.view(rank, *change.shape[1:])
    return Layer({"down": down.contiguous(), "up": up.contiguous()})

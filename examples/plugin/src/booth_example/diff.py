"""Whole changes of weights under LyCORIS's names, `LAYER.diff`, which ComfyUI adds to a base as they are."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from booth.core.safe_file import read_tensors
from booth.export.exporter import UNETS, Check, Exporter, Job


class Diff(Exporter):
    """The product of an adapter's factors: large, and of no rank at all, so that nothing is lost for LoHa and LoKr."""

    name = "diff"
    title = "whole changes (LyCORIS full)"
    programs = ("ComfyUI",)
    accepts = frozenset({"layers"})
    families = UNETS

    def tensors(self, job: Job) -> dict[str, Tensor]:
        layers = job.parts.layers["unet"].items()
        changes = {module: layer.change(job.weight_of("unet", module, layer)) for module, layer in layers}
        return {f"lora_unet_{m.replace('.', '_')}.diff": change.to(job.dtype) for m, change in changes.items()}

    def check(self, job: Job, file: Path) -> Check:
        """By ComfyUI's rule: it makes the name of every weight of the base, and looks each up in the file."""
        held, check = read_tensors(file)[0], Check(reader="ComfyUI's reading of LyCORIS full")
        for module in (n.removesuffix(".weight") for n in job.shapes["unet"] if n.endswith(".weight")):
            found = held.pop(f"lora_unet_{module.replace('.', '_')}.diff", None)
            layer = job.parts.layers["unet"].get(module)
            if layer is not None and found is not None:
                check.matched += 1
                check.compare(found, layer.change(job.weight_of("unet", module, layer)))
            elif layer is not None:
                check.missing.append(module)
        check.unmatched = sorted(held)
        return check

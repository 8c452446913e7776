"""AUTOMATIC1111's own embedding file, a `.pt`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from booth.export import torch_files
from booth.export import torch_proof as torch_file
from booth.export.check import Check
from booth.export.embedding import proof as reader
from booth.export.embedding.write import Embedding
from booth.export.exporter import Job

STAR = 265  # the id of "*", which AUTOMATIC1111 itself writes and nobody reads


class EmbeddingPt(Embedding):
    """One text encoder's rows in a dictionary, as AUTOMATIC1111 saves what it trains."""

    name = "embedding-pt"
    title = "embedding in AUTOMATIC1111's .pt"
    programs = ("AUTOMATIC1111", "Forge", "ComfyUI", "diffusers")
    families = ("stable_diffusion",)  # it holds the rows of one text encoder
    suffix = ".pt"

    def write(self, job: Job, tensors: dict[str, Tensor], file: Path, header: dict[str, str]) -> None:
        (rows,) = tensors.values()
        values: dict[str, Any] = {
            "string_to_token": {"*": STAR},
            "string_to_param": {"*": rows.contiguous()},
            "name": job.record.subject.token,
            "step": job.record.steps,
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
        }
        torch_files.save(values | {"booth": dict(header)}, file)

    def check(self, job: Job, file: Path) -> Check:
        check = super().check(job, file)
        check.unmatched += torch_file.refusals(file)
        return check

    def reading(self, file: Path) -> reader.Reading:
        return reader.read(torch_files.load(file))

    def recognises(self, names: Mapping[str, object]) -> bool:
        table = names.get("string_to_param")
        return isinstance(table, dict) and bool(table) and all(isinstance(t, torch.Tensor) for t in table.values())

"""A whole model in one file in its authors' layout, with what was trained merged in: what drawing programs open."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from booth.core.safe_file import read_tensors
from booth.export.base_files import Shapes, is_flux
from booth.export.check import Check
from booth.export.checkpoint import flux_proof as flux
from booth.export.checkpoint import names as original_names
from booth.export.checkpoint import proof as original
from booth.export.checkpoint.read import original_reading, read_checkpoint
from booth.export.exporter import Job, Loaded, TwoWay
from booth.export.parts import Parts

Rename = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
# What a family's files hold, and how it is called there.
LAYOUTS: dict[str, dict[str, Rename]] = {
    "stable_diffusion": {
        "unet": original_names.unet,
        "vae": original_names.vae,
        "text_encoder": original_names.text_encoder,
    },
    "stable_diffusion_xl": {
        "unet": original_names.unet,
        "vae": original_names.vae,
        "text_encoder": original_names.xl_text_encoder,
        "text_encoder_2": original_names.xl_text_encoder_2,
    },
    "flux": {"transformer": original_names.flux_transformer},
}
READ_MARKERS = ("Forge", "ComfyUI")  # who looks for the tensors that tell what is predicted
DENOISERS = (original_names.UNET, "double_blocks.", "single_blocks.")  # how the keys of a denoiser begin


class Checkpoint(TwoWay):
    """Stable Diffusion 1.x, 2.x and XL whole, under the names of CompVis and Stability AI; FLUX.1's transformer alone.

    Black Forest Labs ship FLUX.1's text encoders and autoencoder as files of their own, and programs load those beside
    the transformer: trained text encoders do not go along.
    """

    name = "checkpoint"
    title = "a checkpoint in the original layout"
    programs = ("AUTOMATIC1111", "Forge", "ComfyUI", "diffusers (from_single_file)")
    accepts = frozenset({"layers", "weights"})
    families = tuple(LAYOUTS)
    architecture = ""

    def require(self, job: Job) -> None:
        super().require(job)
        job.need_base("A whole checkpoint")

    def lost(self, job: Job) -> list[str]:
        lost = super().lost(job)
        if job.record.settings.get("train_text_encoder"):
            trained = job.parts.layers.keys() | job.parts.weights.keys()
            lost += [
                f"the trained {component}, for which files of {job.record.family} have no place"
                for component in sorted(trained - LAYOUTS[job.record.family].keys())
            ]
        return lost

    def read_by(self, job: Job) -> tuple[str, ...]:
        if job.record.family == "flux":
            return tuple(program for program in self.programs if program != "AUTOMATIC1111")
        return READ_MARKERS if _markers(job) else self.programs

    def tensors(self, job: Job) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for component, rename in LAYOUTS[job.record.family].items():
            found |= {name: tensor.to(job.dtype) for name, tensor in rename(job.changed(component)).items()}
        return found | {name: torch.zeros(0, dtype=job.dtype) for name in _markers(job)}

    def check(self, job: Job, file: Path) -> Check:
        """Every weight of the model, as the original code would assign it."""
        tensors = read_tensors(file)[0]
        reading = original_reading(tensors, job.shapes)
        rules = flux.RULES if is_flux(job.shapes) else original.RULES
        check = Check(reader=rules, unmatched=reading.unmatched, missing=reading.missing)
        told, meant = tensors.keys() & set(original.MARKERS), _markers(job)
        check.matched += len(told & meant)
        check.missing += sorted(meant - told)
        check.unmatched += sorted(told - meant)
        for component, state in reading.states.items():
            expected = job.changed(component)
            for name, tensor in state.items():
                check.matched += 1
                check.compare(tensor, expected[name])
        return check

    def loaded(self, job: Job, file: Path) -> Loaded | None:
        return Loaded(original_reading(read_tensors(file)[0], job.shapes).states)

    def recognises(self, names: Mapping[str, Tensor]) -> bool:
        return any(name.startswith(DENOISERS) for name in names)

    def read(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shapes: Shapes
    ) -> tuple[Parts, list[str]]:
        return read_checkpoint(tensors, shapes)


def _markers(job: Job) -> set[str]:
    """The tensors by which a file of Stable Diffusion XL tells that it predicts velocity, up to pure noise or not."""
    if job.record.family != "stable_diffusion_xl":
        return set()
    file = job.need_base("A whole checkpoint").folder / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_bytes())
    if config.get("prediction_type") != "v_prediction":
        return set()
    return {"v_pred", "ztsnr"} if config.get("rescale_betas_zero_snr") else {"v_pred"}

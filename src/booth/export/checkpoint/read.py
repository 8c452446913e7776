"""The whole weights in a checkpoint of other people, every tensor of it accounted for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from booth.core.errors import BadDataError
from booth.core.safe_file import shown
from booth.export.base_files import Shapes, is_flux
from booth.export.checkpoint import flux_proof, proof
from booth.export.parts import Parts

# Where CLIP is in a file; merging tools leave its wrapper out, as newer versions of transformers do.
WRAPPED = re.compile(
    r"((?:cond_stage_model|conditioner\.embedders\.0)\.transformer\.)((?:embeddings|encoder|final_layer_norm)\..+)"
)
# What training leaves in a file and no picture is drawn with: schedules, moving averages, counters, and the last layer
# of OpenCLIP, which Stable Diffusion 2 does not look at.
IDLE = re.compile(
    r"model_ema\..+|.*\.(position_ids|logit_scale|attn_mask|num_batches_tracked)|scale_factor|global_step|denoiser\..+"
    r"|((log_|sqrt_|one_minus_|recip_?|recipm1_)*(alphas?|betas|posterior)[a-z0-9_]*)|lvlb_weights|first_stage_model\.loss\..+"
    r"|cond_stage_model\.model\.(text_projection|transformer\.resblocks\.23\..+)"
)


def original_reading(tensors: Mapping[str, Tensor], shapes: Shapes) -> proof.Reading:
    """As the code of the base's authors would read a file."""
    if is_flux(shapes):
        return flux_proof.read(tensors, shapes["transformer"])
    return proof.read(with_wrapper(tensors), shapes)


def with_wrapper(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with CLIP's names as its authors have them."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        match = WRAPPED.fullmatch(name)
        found[name if match is None else f"{match[1]}text_model.{match[2]}"] = tensor
    return found


def read_checkpoint(tensors: Mapping[str, Tensor], shapes: Shapes) -> tuple[Parts, list[str]]:
    """The denoiser, and the text encoders that the file has; its own autoencoder is set beside them.

    Raises BadDataError for another architecture, or where a component is there in part.
    """
    if "unet" not in shapes and not is_flux(shapes):
        raise BadDataError(
            "This checkpoint is for another architecture than the base.",
            "Name its own with `base`.",
            code="base.other_architecture",
            field="base",
        )
    reading, parts = original_reading(tensors, shapes), Parts()
    for component, state in reading.states.items():
        if component != "unet" and component != "transformer" and not state:
            continue
        lacking = [n for n, shape in shapes[component].items() if n not in state or state[n].shape != shape]
        if lacking:
            raise BadDataError(
                f"This checkpoint is for another architecture than the base, or incomplete: {len(lacking)} weights "
                f"of the {component} are missing or of another shape, such as {shown(lacking[0])}.",
                code="base.other_architecture",
                field="base",
            )
        into = parts.beside if component == "vae" else parts.weights
        into[component] = lambda state=state: state
    idle = [name for name in reading.unmatched if IDLE.fullmatch(name)]
    if idle:
        parts.notes.append(f"passed over {len(idle)} tensors that no picture is drawn with, such as {idle[0]}")
    return parts, [name for name in reading.unmatched if not IDLE.fullmatch(name)]

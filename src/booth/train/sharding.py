"""A run whose processes each hold a part of the denoiser, as `accelerate launch` asks for by its variables of FSDP."""

from __future__ import annotations

import os
from collections.abc import Sequence

from booth.choices import optimizer_of
from booth.config import RunConfig
from booth.core.errors import UsageError
from booth.core.method import Method, Stage

ASKED = "ACCELERATE_USE_FSDP"
# What the launcher may ask for beside, with the values that say what is done anyway. Its other variables say how fast
# something is, or of which blocks and into which files, which is not asked here: see docs/decisions/sharding.md.
HONOURED = {
    "FSDP_SHARDING_STRATEGY": ("1", "full_shard"),
    "FSDP_RESHARD_AFTER_FORWARD": ("true", "full_shard"),
    "FSDP_OFFLOAD_PARAMS": ("false",),
    "FSDP_ACTIVATION_CHECKPOINTING": ("false",),
    "FSDP_ACTIVATION_CHECKPOINTING_OFFLOAD": ("false",),
    "FSDP_IGNORED_MODULES": (),
}
READING = "FSDP_CPU_RAM_EFFICIENT_LOADING"  # by which transformers would read weights in the first process alone


def asks_for_shards() -> bool:
    """Whether the launcher wants the base sharded; UsageError where it wants what is not done."""
    if os.environ.get(ASKED, "false").lower() != "true":
        return False
    for name, values in HONOURED.items():
        wanted = os.environ.get(name)
        if wanted is not None and wanted.lower() not in values:
            instead = "Set gradient_checkpointing instead." if "CHECKPOINTING" in name else "Leave it to its default."
            raise UsageError(
                f"The launcher asks for {name}={wanted}, which is not done here.", instead, code="sharded.variable"
            )
    return True


def require_shardable(config: RunConfig, precision: str, plan: Sequence[Stage]) -> None:
    """UsageError for what needs a whole denoiser."""
    if config.compile:
        raise UsageError(
            "A denoiser that is sharded is not compiled.",
            "Leave `compile` out.",
            code="sharded.compile",
            field="compile",
        )
    if precision == "fp16":
        raise UsageError(
            "A denoiser that is sharded is not trained in fp16.",
            "Use `precision=bf16` or fp32.",
            code="sharded.precision",
            field="precision",
        )
    for stage in plan:
        _require_shardable(stage.method)


def _require_shardable(method: Method) -> None:
    settings = method.config
    if not (method.over_quantised or method.trains_denoiser or method.copies_encoder):
        raise UsageError(
            f"{method.title} may read weights of the denoiser, and no process holds all of one.",
            "Use lora, dreambooth or controlnet, or have each process hold the whole base.",
            code="sharded.method",
            field="method",
        )
    if method.trains_denoiser and not optimizer_of(settings).by_element:
        raise UsageError(
            f"The optimiser {settings.optimizer} needs whole tensors, of which each process holds a part.",
            "Use `optimizer=adamw`.",
            code="sharded.optimizer",
            field="settings.optimizer",
        )
    if settings.prior_weight > 0 and settings.prior == "pictures":
        raise UsageError(
            "No process has a whole denoiser to draw class pictures with.",
            "Set prior=prediction, or prior_weight=0.",
            code="sharded.drawing",
            field="settings.prior",
        )


def told(processes: int) -> str:
    """What is otherwise in such a run."""
    return (
        f"Each of {processes} processes holds a part of the denoiser. Previews and samples are left out, because none "
        "can draw alone: draw the concept when it is finished."
    )

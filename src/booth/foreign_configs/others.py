"""Configurations of trainers that are known by a sign of theirs and not read."""

from __future__ import annotations

import re

from booth.core.errors import BadDataError

SIGNS = (  # what stands in such a file, and whose it is
    (r"^\s*-?\s*type:\s*['\"]?(sd_trainer|diffusion_trainer|ui_trainer)\b", "ai-toolkit"),
    (r"\"(training_method|concept_file_name)\"\s*:", "OneTrainer"),
    (r"\"?(--)?(data_backend_config|model_family)\"?\s*[:=]|^export\s+(MODEL_TYPE|MODEL_FAMILY)=", "SimpleTuner"),
    (r"^\s*micro_batch_size_per_gpu\s*=", "diffusion-pipe"),
    (r"^compute_environment:", "accelerate, which says nothing of a training"),
    (r"^\s*photos\s*=\s*\[", "booth itself"),
)


def require_known(text: str, name: str) -> None:
    """BadDataError for a configuration that another trainer's sign shows not to be read."""
    trainer = next((whose for sign, whose in SIGNS if re.search(sign, text, re.MULTILINE)), None)
    if trainer == "booth itself":
        raise BadDataError(
            f"{name} is a configuration of booth itself.",
            "Train with it as it is.",
            code="config.own",
            field="file",
        )
    if trainer is not None:
        raise BadDataError(
            f"{name} is a configuration of {trainer}; it is not read.",
            "Say the same in a TOML: photos, class and base, and under [settings] steps, rank and learning_rate.",
            code="config.other_trainer",
            field="file",
        )

"""The options of `booth.train`, so that an editor shows them; `booth.config` and the methods check them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict


class TrainOptions(TypedDict, total=False):
    """Fields of a run, then settings that every method has; what one method alone has goes into `settings`."""

    kind: Literal["subject", "style"]
    token: str
    method: str
    also: Sequence[Any]
    base: str
    family: str | None
    out: Path | str | None
    seed: int
    device: str | None
    precision: Literal["fp32", "bf16", "fp16"] | None
    base_precision: Literal["fp32", "bf16", "fp16", "int8", "nf4"] | None
    memory: str
    compile: bool
    checkpoint_every: int | None
    keep_checkpoints: int | None
    until: Literal["steps", "done"]
    previews: int
    preview_seeds: int
    start_from: Path | str | None
    resume: bool
    crop: Literal["center", "random", "subject", "buckets"]
    resolution: int | None
    flip: bool
    shuffle_tags: bool
    keep_tags: int
    unmasked_weight: float
    settings: Mapping[str, Any]

    steps: int
    learning_rate: float
    batch_size: int
    accumulate: int
    schedule: str
    warmup: int
    weight_decay: float
    clip: float
    optimizer: str
    ema: float | None
    min_snr_gamma: float | None
    weighting: str | None
    loss: str
    timesteps: str | None
    options: Mapping[str, Mapping[str, Any]]
    prior_weight: float
    prior: Literal["pictures", "prediction"]
    class_pictures: int
    caption_dropout: float
    gradient_checkpointing: bool

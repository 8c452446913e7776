"""What a family says of each of its text encoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CLIP_LINEARS = {
    "attention": ("q_proj", "k_proj", "v_proj", "out_proj"),
    "feed_forward": ("fc1", "fc2"),
    "projection": (),
}


@dataclass(frozen=True)
class Encoder:
    """A text encoder and its tokenizer, whose folder has the same number: "text_encoder_2", "tokenizer_2"."""

    kind: Any  # class of transformers
    tokenizer: Any
    key: str  # its name in embedding files that serve several encoders: "clip_l"
    linears: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # none where diffusers reads no adapters
    around: Any = None  # what its pipeline has in place of a tokenizer: made of one, and holding it as `tokenizer`
    folder: str = ""  # where the tokenizer lies, if not in the folder of the same number

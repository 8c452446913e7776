"""What a memory plan counts for a LoRA of a published base, beside the tensors of a step that are alive at once.

The denoiser is made by its published configuration on torch's meta device, where nothing is computed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model

from booth.bench.live import LiveTensors, tensors_of
from booth.core.family import Condition
from booth.families.memory import BYTES, Part, Task, needed_bytes

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from harness import slow
from kept_activations import BASES, bare, fused

HALF = torch.bfloat16
RANK = 16
MOMENTS = 8  # bytes that AdamW keeps of a value


def alive_at_once(family: str, side: int, checkpointing: bool) -> tuple[int, int]:
    """The most bytes of a step at a batch of 1, all in half precision and adapters left out; and the base's values."""
    model: Any = bare(family)
    network, published = model.network, BASES[family]
    network.to(HALF).requires_grad_(False)
    frozen = sum(p.numel() for p in network.parameters())
    groups = (model.linears[group] for group in ("attention", "feed_forward") if group in model.linears)
    inject_adapter_in_model(LoraConfig(r=RANK, target_modules=[name for group in groups for name in group]), network)
    adapters = [p for name, p in network.named_parameters() if "lora_" in name]
    for p in adapters:
        p.data = p.data.to(HALF)
    (network.enable_gradient_checkpointing if checkpointing else network.disable_gradient_checkpointing)()
    (channels, factor), (length, width) = published.latents, published.tokens

    def told(*shape: int) -> torch.Tensor:
        return torch.empty(1, *shape, dtype=HALF, device="meta")

    pooled = told(published.pooled) if published.pooled else None
    condition = Condition(told(length, width), pooled, mask=torch.ones(1, length, dtype=torch.bool))
    with fused(), LiveTensors(tensors_of(network)) as live:
        predicted = model.predict(
            told(channels, side // factor, side // factor), torch.ones(1, device="meta"), condition
        )
        predicted.float().pow(2).mean().backward()
    own = sum(p.numel() for p in adapters)
    return live.most - 2 * own * 2, frozen  # weights and gradients


@pytest.mark.essential
@pytest.mark.parametrize(
    ("family", "side", "checkpointing", "most"),
    [
        ("stable_diffusion", 512, False, 5e9),
        slow("stable_diffusion_xl", 1024, True, 10e9),
        slow("flux", 1024, True, 30e9),
    ],
)
def test_a_plan_counts_what_is_alive_within_a_tenth(family: str, side: int, checkpointing: bool, most: float) -> None:
    alive, frozen = alive_at_once(family, side, checkpointing)
    kind: Any = type(bare(family))
    task = Task(side=side, activation=2, device="cuda")
    planned = needed_bytes({kind.denoiser[0]: Part(frozen, 0)}, kind, task, "bf16", True, checkpointing, MOMENTS)
    assert planned == pytest.approx(alive, rel=0.1)
    assert planned > frozen * BYTES["bf16"]
    assert max(planned, alive) < most

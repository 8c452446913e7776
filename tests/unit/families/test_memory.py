"""What a base takes, counted from headers, is what it takes when it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from booth.families.loading import load_family
from booth.families.memory import memory_plans, values_of_parts
from booth.machine import examine


def test_values_are_counted_by_part(toy_base: Path) -> None:
    parts = load_family(str(toy_base)).components()
    counted = {name: sum(t.numel() for t in part.state_dict().values()) for name, part in parts.items()}
    assert values_of_parts(toy_base) == counted


@pytest.mark.parametrize(("room", "precision", "fits"), [(10**9, "fp32", True), (1, "bf16", False)])
def test_the_first_plan_that_fits_is_chosen(toy_base: Path, room: int, precision: str, fits: bool) -> None:
    frozen, tuned = memory_plans(toy_base, room)
    assert {plan.fits for plan in (frozen, tuned)} == {fits}
    assert {plan.base_precision for plan in (frozen, tuned)} == {precision}
    assert "lora" in frozen.methods
    assert "dreambooth" in tuned.methods


def test_the_bytes_are_those_of_the_tensors(toy_base: Path) -> None:
    dtype = torch.bfloat16
    parts = load_family(str(toy_base), dtype=dtype).components()
    sizes = {name: sum(p.numel() * p.element_size() for p in part.parameters()) for name, part in parts.items()}
    just = sum(sizes.values())
    frozen, _ = memory_plans(toy_base, just)
    assert (frozen.base_precision, frozen.bytes, frozen.fits) == ("bf16", just, True)
    unet = parts["unet"].float().requires_grad_(True)
    adam = torch.optim.AdamW(unet.parameters())
    for p in unet.parameters():
        p.grad = torch.ones_like(p)
    adam.step()
    states = [t for state in adam.state.values() for t in state.values() if t.dim()]
    tensors = [t for p in unet.parameters() for t in (p, p.grad)] + states
    needed = just - sizes["unet"] + sum(t.numel() * t.element_size() for t in tensors)
    _, tuned = memory_plans(toy_base, needed)
    assert (tuned.base_precision, tuned.optimizer, tuned.bytes) == ("bf16", "adamw", needed)
    _, tuned = memory_plans(toy_base, needed - 1)
    assert (tuned.optimizer, tuned.fits) == ("adamw8bit", True)


def test_the_doctor_tells_the_plans_of_a_base(toy_base: Path) -> None:
    told = examine(str(toy_base))["base"]
    assert told["family"] == "stable_diffusion"
    assert [plan["fits"] for plan in told["plans"]] == [True, True]
    assert told["advice"] is None

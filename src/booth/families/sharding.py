"""A denoiser of which each process of a run holds a part: its blocks are put together one by one as they are computed.

By torch's FSDP2 (`fully_shard`). Seen from outside it is whole: its state dict is, and so are tensors that it loads.
"""

# torch.distributed is annotated in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn

from booth.core.sharding import is_part, part_of, whole
from booth.families.compiling import repeated_blocks


def shard(network: nn.Module, device: str, dtype: torch.dtype) -> None:
    """Bring to the device what this process is to hold of a network, as all processes do; `dtype` is computed in.

    In mixed precision weights are in that when they are put together: of autocast's copies each would be kept, whole,
    until the backward pass.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mixed = dtype if dtype != torch.float32 else None
    policy = MixedPrecisionPolicy(param_dtype=mixed, reduce_dtype=torch.float32, cast_forward_inputs=False)
    mesh = init_device_mesh(torch.device(device).type, (distributed.get_world_size(),))
    for module in [*repeated_blocks(network), network]:
        name = type(module).__name__
        fully_shard(module, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
        type(module).__name__ = name  # which blocks are known by, and configurations say
    for module in network.modules():
        module.register_state_dict_post_hook(_put_together)
        module.register_load_state_dict_pre_hook(_share_out)


def gather(network: nn.Module, keep: bool) -> None:
    """Put all of a network together, which all processes do; who keeps it can then read its state dict alone."""
    for parameter in network.parameters():
        if is_part(parameter):
            found = whole(parameter)
            if keep:
                parameter.gathered = found.cpu()  # type: ignore[attr-defined]


def _put_together(module: nn.Module, state: dict[str, Tensor], prefix: str, _: object) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        if is_part(parameter):
            found = getattr(parameter, "gathered", None)
            state[prefix + name] = whole(parameter).cpu() if found is None else found


def _share_out(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        if prefix + name in state:
            state[prefix + name] = part_of(parameter, state[prefix + name])

"""Tensors of which each process of a run holds a part (torch's DTensor): put together, measured, and filled.

Whatever is asked of other processes is asked by all of them, in the same order. A tensor that is whole stays as it is.
"""

# torch.distributed is annotated in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn


def is_part(tensor: Tensor) -> bool:
    """Whether other processes hold the rest of it."""
    return hasattr(tensor, "full_tensor")  # looked up like this, torch.distributed is loaded by nobody who does without


def whole(tensor: Tensor) -> Tensor:
    """All of it, which all processes ask for."""
    found: Any = tensor.detach()
    return cast(Tensor, found.full_tensor()) if is_part(tensor) else found


def part_of(like: Tensor, tensor: Tensor) -> Tensor:
    """What of a whole tensor this process holds, as it does of one `like` that; no other process is asked."""
    if not is_part(like) or is_part(tensor):
        return tensor
    from torch.distributed.tensor import DTensor

    shared, tensor = cast(DTensor, like), tensor.contiguous()
    mesh: Any = shared.device_mesh
    rank, rows = int(mesh.get_local_rank()), -(-len(tensor) // int(mesh.size()))
    own = tensor[rank * rows : (rank + 1) * rows]  # of a few rows the last processes hold none
    how: dict[str, Any] = {"run_check": False, "shape": tensor.shape, "stride": tensor.stride()}
    return DTensor.from_local(own.to(like.device), mesh, shared.placements, **how)


def total_norm(tensors: Iterable[Tensor]) -> Tensor:
    """The norm of all of them together, parts of others included."""
    tensors = list(tensors)
    parts = [t for t in tensors if is_part(t)]
    if not parts:
        return nn.utils.get_total_norm(tensors)
    norms = [whole(nn.utils.get_total_norm(parts))]
    norms += [nn.utils.get_total_norm([t for t in tensors if not is_part(t)]).to(norms[0])]
    return cast(Tensor, torch.linalg.vector_norm(torch.stack(norms)))

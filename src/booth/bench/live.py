"""How many bytes of tensors are alive at once, counted while they are made: the same on any device, and on none."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveTensors(TorchDispatchMode):
    """Within this context `most` is the largest sum so far of the bytes of all tensors that are alive.

    A storage counts once, however many tensors look at it, until nothing holds it: autograd holds what it keeps. What
    was there before counts if it is among `given`. Short-lived buffers inside an operation are not seen.
    """

    def __init__(self, given: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = 0
        self.most = 0
        self._alive: dict[int, weakref.ref[Any]] = {}
        for tensor in given:
            self._note(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in tree_iter(made):
            if isinstance(value, Tensor):
                self._note(value)
        return made

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return

        def gone(_: Any) -> None:
            del self._alive[key]
            self.now -= size

        self._alive[key] = weakref.ref(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)


def tensors_of(module: torch.nn.Module) -> Iterable[Tensor]:
    """Everything that a module holds."""
    yield from module.parameters()
    yield from module.buffers()

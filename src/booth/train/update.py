"""Step 5 of the loop: accumulate, clip, step, average; once for all methods."""

# torch is annotated in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from booth.choices import optimizer_of, schedule_of
from booth.core.json_values import Json
from booth.core.method import MethodConfig, ParameterGroup
from booth.core.optimizer import OptimizerFactory, Schedule
from booth.core.sharding import part_of, total_norm

HOW = ("fused", "foreach", "capturable")  # settings of a group that change no result
INSIDE = "/"  # between the names of nested values of an optimiser's state


class Update:
    """Owns the optimiser, the schedule, clipping and the moving average of the tensors a method handed over."""

    def __init__(
        self,
        groups: list[ParameterGroup],
        config: MethodConfig,
        constrain: Callable[[], None] | None = None,
        scaler: torch.amp.GradScaler | None = None,
        penalty: Callable[[], Tensor | None] | None = None,
        optimizer: OptimizerFactory | None = None,
    ) -> None:
        """`optimizer` stands in for the one that `config` names."""
        self.groups = groups
        self.config = config
        self.accumulate = config.accumulate
        self.rate_scale = 1.0  # halved by each recovery from a loss that was not finite
        self.optimizer = make_optimizer(optimizer or optimizer_of(config), groups)
        self._schedule = schedule_of(config)
        self._peak_rates: list[float] = [g["lr"] for g in self.optimizer.param_groups]
        self._constrain = constrain
        self._scaler = scaler
        self._penalty = penalty
        # Elsewhere than on these devices a fused optimiser may not look at `grad_scale`.
        self._clips_while_reading = all(p.device.type in ("cpu", "cuda") for p in self.parameters().values())
        self.ema: dict[str, Tensor] | None = None
        if config.ema is not None:
            self.ema = {n: p.detach().float().clone() for n, p in self.parameters().items()}

    def parameters(self) -> dict[str, nn.Parameter]:
        """Every tensor that receives the gradient, by name."""
        return {name: p for g in self.groups for name, p in g.parameters.items()}

    @property
    def learning_rate(self) -> float:
        """The rate of the first group at the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def loss_scale(self) -> float | None:
        """What the loss is multiplied by while gradients are in half precision; None in other precisions."""
        return None if self._scaler is None else float(self._scaler.get_scale())

    def penalised(self, loss: Tensor) -> Tensor:
        """The loss of a micro-batch with what the method adds to it, if it adds anything."""
        penalty = None if self._penalty is None else self._penalty()
        return loss if penalty is None else loss + penalty

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss as it is taken the gradient of: in half precision multiplied by a scale."""
        return loss if self._scaler is None else self._scaler.scale(loss)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of one micro-batch."""
        self.scaled(loss).backward()

    def norm(self) -> Tensor:
        """The norm of all gradients together, before clipping, on their device."""
        if self._scaler is not None:
            self._scaler.unscale_(self.optimizer)
        return total_norm(p.grad for p in self.parameters().values() if p.grad is not None)

    def gradient_norm(self) -> float:
        """The same as a number; on a GPU this waits for it."""
        return float(self.norm())

    def _clip(self, norm: float) -> None:
        """Have gradients of this norm scaled down to the largest allowed, where they are above it."""
        above = norm > self.config.clip
        if self._scaler is None and self.optimizer.defaults.get("fused") and self._clips_while_reading:
            # The fused optimisers divide by `grad_scale` while they read: one pass over the gradients less.
            excess = torch.tensor((norm + 1e-6) / self.config.clip) if above else None
            self.optimizer.grad_scale = excess  # pyright: ignore[reportAttributeAccessIssue]
        elif above:
            nn.utils.clip_grads_with_norm_(self.parameters().values(), self.config.clip, torch.tensor(norm))

    def step(self, index: int, norm: float) -> None:
        """One optimiser step at the rate of 0-based step `index`, with gradients of this norm clipped."""
        self._clip(norm)
        self._set_rates(index)
        if self._scaler is None:
            self.optimizer.step()
        else:
            self._scaler.step(self.optimizer)
        if self._constrain is not None:
            self._constrain()
        self._average(index)

    @property
    def can_leave_out(self) -> bool:
        """Whether the optimiser can leave a step out by what a tensor on its device says, so that nobody waits."""
        return self._scaler is None and bool(self.optimizer.defaults.get("fused")) and self._clips_while_reading

    def step_where(self, finite: Tensor, index: int, norm: Tensor) -> None:
        """The same step where `finite` is true, and none where it is not, with neither of them read."""
        optimizer: Any = self.optimizer
        optimizer.grad_scale = torch.where(norm > self.config.clip, (norm + 1e-6) / self.config.clip, 1.0)
        optimizer.found_inf = (~finite).float()
        self._set_rates(index)
        try:
            optimizer.step()
        finally:
            optimizer.grad_scale = optimizer.found_inf = None
        if self._constrain is not None:
            self._constrain()
        self._average(index, finite)

    def _set_rates(self, index: int) -> None:
        factor = self.rate_scale * rate_factor(self._schedule, index, self.config.steps, self.config.warmup)
        for group, peak in zip(self.optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = peak * factor

    def _average(self, index: int, where: Tensor | None = None) -> None:
        """Move the average towards what is trained now; where the tensor `where` is false it stays."""
        if self.ema is None or self.config.ema is None:
            return
        # The usual warm-up of the decay, so that a short run is not dominated by its start.
        share: Any = 1 - min(self.config.ema, (1 + index) / (10 + index))
        if where is not None:
            share = where.float() * share
        for name, p in self.parameters().items():
            self.ema[name].lerp_(p.detach().float(), share)

    def clear(self) -> None:
        """Forget the gradients."""
        if self._scaler is not None:
            self._scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def averaged(self) -> Generator[None]:
        """Within this context the parameters hold their moving average, if there is one."""
        if self.ema is None:
            yield
            return
        kept = {n: p.detach().clone() for n, p in self.parameters().items()}
        with torch.no_grad():
            for n, p in self.parameters().items():
                p.copy_(self.ema[n])
        try:
            yield
        finally:
            with torch.no_grad():
                for n, p in self.parameters().items():
                    p.copy_(kept[n])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Json]]:
        """Everything needed to go on: tensors for safetensors, and plain values for JSON."""
        tensors = {f"parameter.{n}": p.detach() for n, p in self.parameters().items()}
        tensors |= {f"average.{n}": t for n, t in (self.ema or {}).items()}
        saved = self.optimizer.state_dict()
        values: dict[str, Any] = {"rate_scale": self.rate_scale, "state": {}, "groups": []}
        for i, entry in saved["state"].items():
            for key, value in _flat(entry).items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{i}.{key}"] = value
                else:
                    values["state"].setdefault(str(i), {})[key] = value
        values["groups"] = [{k: v for k, v in g.items() if k != "params"} for g in saved["param_groups"]]
        if self._scaler is not None:
            values["scaler"] = self._scaler.state_dict()
        return {k: v.contiguous() for k, v in tensors.items()}, values

    def load_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Take over what `state` returned; a missing tensor is a KeyError."""
        with torch.no_grad():
            for n, p in self.parameters().items():
                p.copy_(part_of(p, tensors[f"parameter.{n}"]))
            if self.ema is not None:
                self.ema = {n: _laid_out_as(e, tensors[f"average.{n}"]) for n, e in self.ema.items()}
        state: dict[int, dict[str, Any]] = {}
        trained = list(self.parameters().values())
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, i, key = name.split(".", 2)
                own = part_of(trained[int(i)], tensor) if tensor.shape == trained[int(i)].shape else tensor
                state.setdefault(int(i), {})[key] = own.clone()
        for i, entry in values["state"].items():
            state.setdefault(int(i), {}).update(entry)
        state = {i: _nested(entry) for i, entry in state.items()}
        template = self.optimizer.state_dict()["param_groups"]
        groups = [t | _but_how(g) for t, g in zip(template, values["groups"], strict=True)]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        for parameter, entry in self.optimizer.state.items():
            for key, value in entry.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    entry[key] = _laid_out_as(parameter, value)
        self.rate_scale = values["rate_scale"]
        if self._scaler is not None and "scaler" in values:
            self._scaler.load_state_dict(values["scaler"])


def make_optimizer(factory: OptimizerFactory, groups: list[ParameterGroup]) -> torch.optim.Optimizer:
    """An optimiser over the groups, each with its own learning rate and weight decay."""
    factory.require()
    return factory.make(
        [{"params": list(g.parameters.values()), "lr": g.learning_rate, "weight_decay": g.weight_decay} for g in groups]
    )


def rate_factor(schedule: Schedule, step: int, total: int, warmup: int) -> float:
    """What the peak learning rate is multiplied by at 0-based `step` of `total`."""
    if step < warmup:
        return (step + 1) / warmup
    return schedule((step - warmup) / max(1, total - warmup))


def _laid_out_as(like: Tensor, value: Tensor) -> Tensor:
    """A copy of `value` with the strides of `like`: the fused optimisers pair elements by their place in memory."""
    return torch.empty_like(like, dtype=value.dtype).copy_(part_of(like, value))


def _but_how(group: dict[str, Any]) -> dict[str, Any]:
    """A group's settings without those of how a step is computed, which are this machine's and version's."""
    return {key: value for key, value in group.items() if key not in HOW}


def _flat(entry: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """The values of an optimiser's state by path: some nest what belongs to a quantised moment."""
    flat: dict[str, Any] = {}
    for key, value in entry.items():
        path, inner = f"{before}{key}", cast("dict[str, Any]", value) if isinstance(value, dict) else None
        flat |= {path: value} if inner is None else _flat(inner, f"{path}{INSIDE}")
    return flat


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    """What `_flat` was given."""
    entry: dict[str, Any] = {}
    for path, value in flat.items():
        *outer, key = path.split(INSIDE)
        inner = entry
        for name in outer:
            inner = inner.setdefault(name, {})
        inner[key] = value
    return entry

"""One run by several processes, as `accelerate launch` and torchrun start them: each step's rows are shared out.

Every process deals the same batches and draws the same noise, takes the gradient of its own rows, and adds it to that
of the others; so all make the same update. The first one writes: checkpoints and concept are those of any run. Where
the launcher asks for FSDP each holds a part of the denoiser, of its gradients and of their moments.
"""

# torch.distributed is annotated in part.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load, save
from torch import Tensor, distributed

from booth.concept import Concept
from booth.config import RunConfig
from booth.config.start import going_on
from booth.core.batch import BatchSource
from booth.core.cancel import CancelToken
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.precision import choose_precision
from booth.core.rng import Rng
from booth.core.sharding import is_part, whole
from booth.events import Listener
from booth.families.sharding import gather
from booth.session import Session
from booth.train.checkpoints import Checkpoint, read_checkpoint, require_finite
from booth.train.loop import gradients
from booth.train.sharding import READING, asks_for_shards
from booth.train.signals import Signals
from booth.train.trainer import Trainer
from booth.train.update import Update

WORLD, RANK, LOCAL = "WORLD_SIZE", "RANK", "LOCAL_RANK"  # variables that launchers set
PATIENCE = timedelta(hours=12)  # for the first process, which may draw previews and samples while the others wait


def processes() -> int:
    """How many processes share this run."""
    return int(os.environ.get(WORLD, "1"))


def follows() -> bool:
    """Whether another process of this run writes and tells what there is to tell."""
    return processes() > 1 and os.environ.get(RANK, "0") != "0"


@contextmanager
def joined() -> Generator[Team]:
    """Within this context the processes know each other: over NCCL on GPUs, one each, else over gloo."""
    on_gpus, shards = torch.cuda.is_available(), asks_for_shards()
    if shards:
        os.environ[READING] = "false"  # every process embeds prompts, with weights of its own
    if on_gpus:
        torch.cuda.set_device(int(os.environ.get(LOCAL, "0")))
    distributed.init_process_group("nccl" if on_gpus else "gloo", timeout=PATIENCE)
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size(), shards)
    finally:
        distributed.destroy_process_group()


class Team:
    """The processes of a run, and which of them this is. What one is asked for, all do after the same step."""

    def __init__(self, rank: int, size: int, shards: bool = False) -> None:
        self.rank, self.size = rank, size
        self.shards = shards  # whether each holds but a part of the denoiser
        self.asked = CancelToken()  # this process was asked to stop
        self.agreed = CancelToken()  # one of the team was

    @property
    def leads(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def configured(self, config: RunConfig) -> RunConfig:
        """The run as this process does it; UsageError for what each would decide by itself."""
        if config.until == "done":
            raise UsageError(
                "Several processes cannot find out together when a run is done.",
                "Give it `steps`, and leave `until` out.",
                code="distributed.until_done",
                field="until",
            )
        if config.device is None and torch.cuda.is_available():
            config = config.model_copy(update={"device": f"cuda:{os.environ.get(LOCAL, '0')}"})
        return config.model_copy(update={"previews": 0}) if self.shards or not self.leads else config

    def session(self, config: RunConfig) -> AbstractContextManager[Session | None]:
        """What holds this process's part of the base; nothing where a run opens all of it by itself."""
        if not self.shards:
            return nullcontext()
        config, device = going_on(config), config.device or "cpu"
        precision = choose_precision(config.precision, device)
        return Session(config.base, device, config.family, precision, processes=self.size)

    def gradients(
        self, model: Family, batches: BatchSource, update: Update, *, seed: int, index: int, **how: Any
    ) -> list[Tensor]:
        """In place of `booth.train.loop.gradients`: those of this process's rows, and then of all."""
        rows = len(batches(Rng(seed, index)).prompts)
        if rows % self.size:
            raise UsageError(
                f"A batch of {rows} rows cannot be shared out evenly to {self.size} processes.",
                f"Make `batch_size` a multiple of {self.size}.",
                code="distributed.uneven",
                field="settings.batch_size",
            )
        mine = slice(self.rank, self.rank + 1)
        told = gradients(model, batches, update, seed=seed, index=index, parts=self.size, own=mine, **how)
        parameters = list(update.parameters().values())
        here = [*(loss.float() for loss in told), torch.tensor(float(self.asked.cancelled), device=told[0].device)]
        here += [torch.tensor(float(p.grad is not None), device=told[0].device) for p in parameters]
        known = torch.stack(here)
        distributed.all_reduce(known)
        losses, stops, given = known[: len(told)], known[len(told)], cast(list[float], known[len(told) + 1 :].tolist())
        for p, count in zip(parameters, given, strict=True):
            if is_part(p):  # added up already, in the backward pass, and divided by the number of processes
                p.grad = None if p.grad is None else p.grad.mul_(self.size)
            elif count:  # what no row of the batch has a gradient for is left as it is
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                distributed.all_reduce(p.grad)
        if stops > 0:
            self.agreed.cancel(self.asked.reason or "Another process of this run was asked to stop.")
        return list(losses)

    def share(self, found: Checkpoint | None) -> Checkpoint | None:
        """The checkpoint that the first process goes on from, in all of them."""
        values = None if found is None else {"done": found.done, "folder": str(found.folder), "values": found.values}
        told, tensors = self.tell(values, found.tensors if found is not None and not self.shards else {})
        if self.leads or told is None:
            return found
        if self.shards:  # too large to be told: each takes its part from the file
            return read_checkpoint(Path(told["folder"]))
        return Checkpoint(Path(told["folder"]), told["done"], tensors, told["values"])

    @property
    def alone(self) -> bool:
        """Whether the first process holds all that is saved."""
        return not self.shards

    def agree(self, due: bool) -> bool:
        """What the first process finds, in all of them."""
        return bool(self.tell(due)[0])

    def collect(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors in the first process, where parts are put together one by one; nothing in the others.

        Raises NotFiniteError in all of them, so that all go back.
        """
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            entire = whole(tensor)
            require_finite({name: entire})
            if self.leads:
                found[name] = entire.cpu() if is_part(tensor) else entire
        return found

    def end(self, trainer: Trainer) -> None:
        """After the last step: all that the concept is written from, in the first process, and on its disk."""
        if self.shards and trainer.config.keep_checkpoints is None:
            trainer.save()
        if self.shards and any(stage.method.trains_denoiser for stage in trainer.plan):
            gather(cast(torch.nn.Module, trainer.model.sites.denoiser), keep=self.leads)

    def tell(self, values: object, tensors: Mapping[str, Tensor] | None = None) -> tuple[Any, dict[str, Tensor]]:
        """What the first process has, as JSON and tensors, in all of them."""
        place = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        found: list[bytes] = []
        for data in (json.dumps(values).encode(), save(dict(tensors or {}))):
            size = torch.tensor(len(data), device=place)
            distributed.broadcast(size, 0)
            content = torch.empty(int(size), dtype=torch.uint8, device=place)
            if self.leads:
                content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
            distributed.broadcast(content, 0)
            found.append(content.cpu().numpy().tobytes())
        return json.loads(found[0]), load(found[1])


def train_by_team(config: RunConfig, *, listeners: Sequence[Listener], samples: bool) -> Concept:
    """As `booth.train.run.train`, of which this process does its share; the concept is there when any returns."""
    with joined() as team:
        return learn(team, config, listeners=listeners, samples=samples)


def learn(team: Team, config: RunConfig, *, listeners: Sequence[Listener] = (), samples: bool = True) -> Concept:
    """One run of a team that has come together."""
    config = team.configured(config)
    own: dict[str, Any] = {"listeners": listeners, "samples": samples} if team.leads else {"keep": False}
    with (
        Signals(team.asked) as signals,
        team.session(config) as session,
        Trainer(config, cancel=team.agreed, session=session, **own) as trainer,
    ):
        about = {"finished": trainer.finished is not None, "longer": trainer.former is not None}
        (about, _) = team.tell(about)
        if about["longer"]:
            raise UsageError(
                "Several processes cannot go on with a run that was finished with fewer steps.",
                "Start one process.",
                code="distributed.longer",
                field="steps",
            )
        if not about["finished"]:
            trainer.gradients = team.gradients
            trainer.share_checkpoints(team.share, team)
            trainer.start()
            signals.patient = True
            for _ in trainer:
                pass
            team.end(trainer)
            signals.patient = False
        concept = trainer.finish() if team.leads else None
    distributed.barrier()
    return concept or Concept.load(config.folder.absolute())

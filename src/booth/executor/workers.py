"""Workers as people ask for them: a number, `ray`, or `ray:N`."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch

from booth.core.errors import UsageError
from booth.events import Event
from booth.executor.here import ThisProcess
from booth.executor.job import Executor
from booth.executor.on_ray import OnRay
from booth.executor.processes import LocalProcesses


def make_executor(
    workers: str, threads: int = 1, gpus: float = 0, on_event: Callable[[Event], None] = lambda event: None
) -> Executor:
    """This process for 1, so many processes of this machine, or actors of a Ray cluster; UsageError for anything else.

    Processes are spread over the GPUs of this machine, if it has any, one after the other.
    """
    found = re.fullmatch(r"(ray)(?::([1-9]\d{0,4}))?|([1-9]\d{0,2})", workers)
    if found is None:
        raise UsageError(
            f"`workers={workers}` makes no sense.",
            "Give a number, ray, or ray:N.",
            code="workers.invalid",
            field="workers",
        )
    environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    environment["DIFFUSERS_DISABLE_REMOTE_CODE"] = "1"
    if found.group(1):
        several = int(found.group(2)) if found.group(2) else None
        return OnRay(several, cpus=threads, gpus=gpus, environment=environment)
    count = int(found.group(3))
    if count == 1:
        return ThisProcess(on_event)
    return LocalProcesses([environment | _gpu(number) for number in range(count)], on_event)


def _gpu(number: int) -> dict[str, str]:
    there = torch.cuda.device_count()
    return {"CUDA_VISIBLE_DEVICES": str(number % there)} if there else {}

"""Jobs by actors of a Ray cluster, each of which stays and keeps what it holds for the next job."""

# ray is annotated in part, and an extra.
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from booth.core.cancel import CancelToken
from booth.core.errors import Interrupted, NotAvailableError
from booth.events import Event
from booth.executor.job import Executor, Job, Outcome, Resident, perform

PATIENCE = 30.0  # seconds that an actor has to save in when it is told to end
PACE = 2.0  # seconds between two looks whether a node is taken away; the shortest notice of a cloud is 30 s
ADDRESS = "RAY_ADDRESS"
# A cluster of this machine alone: reached from it alone, by who has the token, and telling nobody that it is used.
CLOSED = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
# Ray takes 127.0.0.1 for the machine's outward address; elsewhere than on Linux it stays inside unless told otherwise.
LOOPBACK = "127.0.0.2"
# On a busy machine Ray's own agents need longer to start than the 15 s after which it takes them for dead.
PATIENT = {"RAY_agent_register_timeout_ms": "120000"}


class Actor:
    """A worker somewhere in the cluster. Jobs and `stop` come in threads of their own."""

    def __init__(self, number: int) -> None:
        self._resident = Resident(number)
        threading.Thread(target=heed, args=(self._resident.cancel,), daemon=True).start()

    def work(self, job: Job) -> Outcome:
        """Do a job."""
        return perform(job, self._resident)

    def stop(self) -> None:
        """Have the job save and end."""
        self._resident.cancel.cancel("Stopped by the driver.")


def heed(cancel: CancelToken) -> None:
    """Have the job save and end once Ray is about to take its node away, as it tells of spot machines."""
    while not cancel.cancelled:
        if is_draining():
            cancel.cancel(Interrupted("Its node is about to be taken away.", signal.SIGTERM))
        time.sleep(PACE)


def is_draining() -> bool:
    """Whether Ray drains the node of this process, asked as its own trainer asks; False where that cannot be told."""
    import ray

    private: Any = ray._private
    try:
        return ray.get_runtime_context().get_node_id() in private.state.state.get_draining_nodes()
    except Exception:  # then a node that goes takes what was not saved since the last checkpoint
        return False


class OnRay(Executor):
    """As many actors as there is room for, or `workers`; one that dies is replaced, and its job is `lost`.

    Without a cluster ($RAY_ADDRESS), one is started on this machine, on the loopback address, with token authentication
    and without a dashboard. `gpus` may be a share of one; `memory` is bytes that a node has to have free for an actor.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        cpus: float = 1,
        gpus: float = 0,
        memory: int = 0,
        environment: dict[str, str] | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._ray = start_ray(workers, cpus)
        needs = {"num_cpus": cpus, "num_gpus": gpus, "memory": memory}
        # Two threads: one does jobs, the other is told to stop. A job that is lost is the driver's to give again.
        options = {**needs, "max_concurrency": 2, "max_restarts": 0, "max_task_retries": 0}
        self._kind: Any = self._ray.remote(Actor).options(
            **{key: value for key, value in options.items() if value or key.startswith("max")},
            runtime_env={"env_vars": environment or {}},
        )
        self.workers = workers or room_for(self._ray.cluster_resources(), cpus, gpus, memory)
        self._actors: dict[int, Any] = {}
        self._under_way: dict[Any, tuple[int, Job]] = {}

    def submit(self, job: Job) -> None:
        busy = {number for number, _ in self._under_way.values()}
        number = next(n for n in range(self.workers) if n not in busy)
        if number not in self._actors:
            self._actors[number] = self._kind.remote(number)
        self._under_way[self._actors[number].work.remote(job)] = (number, job)

    def next(self, timeout: float | None = None) -> Outcome | None:
        ended, _ = self._ray.wait(list(self._under_way), num_returns=1, timeout=timeout)
        if not ended:
            return None
        number, job = self._under_way.pop(ended[0])
        try:
            outcome: Outcome = self._ray.get(ended[0])
        except self._ray.exceptions.RayError as error:
            del self._actors[number]
            return Outcome(job, "lost", reason=f"Its worker ended ({type(error).__name__}).")
        if outcome.state == "stopped":
            self._let_go(number)
        return outcome

    def stop(self) -> None:
        for actor in self._actors.values():
            actor.stop.remote()

    def close(self) -> None:
        self.stop()
        if self._under_way:
            self._ray.wait(list(self._under_way), num_returns=len(self._under_way), timeout=PATIENCE)
        for number in list(self._actors):
            self._let_go(number)
        self._ray.shutdown()

    def _let_go(self, number: int) -> None:
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actors.pop(number))


def start_ray(workers: int | None = None, cpus: float = 1) -> Any:
    """The library, connected to $RAY_ADDRESS or to a closed cluster of this machine; NotAvailableError without it."""
    own = ADDRESS not in os.environ
    if own:
        for name, value in {**CLOSED, **PATIENT, "RAY_AUTH_TOKEN": secrets.token_hex(32)}.items():
            os.environ.setdefault(name, value)  # before it is imported, which is when they are read
    try:
        import ray
    except ImportError as error:
        raise NotAvailableError(
            "Ray is not installed.", 'Install it: pip install "booth[ray]".', code="package.missing"
        ) from error
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "ignore_reinit_error": True}
    if own:
        how |= {"include_dashboard": False}
        how |= {"_node_ip_address": LOOPBACK} if sys.platform == "linux" else {}
        how |= {"num_cpus": max(1, round(workers * cpus))} if workers is not None else {}
    try:
        ray.init(**how)
    except Exception as error:  # it raises just that where its own parts do not start in time
        raise NotAvailableError(
            f"Ray did not start: {str(error).splitlines()[0]}",
            "On a busy machine try again, or give a number of `workers`.",
            code="ray.not_started",
            field="workers",
        ) from error
    return ray


def room_for(resources: dict[str, float], cpus: float, gpus: float, memory: int) -> int:
    """How many workers of these needs a cluster has room for; one at least, which then waits."""
    wanted = {"CPU": cpus, "GPU": gpus, "memory": memory}
    return max(1, min(int(resources.get(name, 0) // need) for name, need in wanted.items() if need))

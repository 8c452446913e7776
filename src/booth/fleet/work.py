"""What a worker does: a run after the other, or several of them in one pass on the base that it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ParamSpec, TypeVar

from booth.concept import Concept
from booth.config import RunConfig
from booth.core.errors import BoothError, NotAvailableError, UsageError
from booth.core.json_values import Json
from booth.core.threads import computing_with
from booth.executor.job import Resident
from booth.families.quiet import hush
from booth.fleet.place import open_place
from booth.fleet.runs import Run
from booth.fleet.task import Task, base_of
from booth.train.together import train_together

T = TypeVar("T")
P = ParamSpec("P")


def work(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Json]:
    """Do the runs that `arguments` name, a job of an executor; return by id what became of each.

    That is what its commit marker says, or the error of a run that failed alone. Stopped, it has brought the newest
    checkpoints to their place before Cancelled is raised.
    """
    hush()
    place = open_place(arguments["place"])
    found: dict[str, Any] = {}
    with ExitStack() as exits:
        taken: list[Task] = []
        for named in arguments["runs"]:
            task = Task(Run(place, named["subject"], named["id"]), arguments)
            done = task.run.done()
            if done is not None:  # by another worker meanwhile
                found[task.run.key] = done
                continue
            if not taken:
                exits.enter_context(computing_with(task.job["threads"]))
            taken.append(exits.enter_context(task))
        if len(taken) == 1:
            task = taken[0]
            return {**found, task.run.key: task.kept(task.taught(resident), resident)}
        for task, concept in zip(taken, _together(taken, resident) if taken else (), strict=True):
            done = concept if isinstance(concept, BoothError) else told(task.kept, concept, resident)
            if isinstance(done, BoothError):
                task.forget()
                done = {"error": type(done).__name__, "code": done.code, "reason": str(done)}
            found[task.run.key] = done
    return found


def _together(tasks: Sequence[Task], resident: Resident) -> list[Concept | BoothError]:
    """Several runs in one pass; where they do not fit into one, one after the other."""
    found: dict[int, Concept | BoothError] = {}
    with ExitStack() as exits:
        fetched = {i: told(task.prepared) for i, task in enumerate(tasks)}
        found |= {i: result for i, result in fetched.items() if isinstance(result, BoothError)}
        ready = {i: config for i, config in fetched.items() if isinstance(config, RunConfig)}
        heard = [exits.enter_context(tasks[i].heard(resident)) for i in ready]
        try:
            taught = train_together(
                list(ready.values()),
                session=base_of(tasks[0].config, resident),
                listeners=heard,
                cancel=resident.cancel,
                latents=[tasks[i].latents for i in ready],
            )
            found |= dict(zip(ready, taught, strict=True))
            return [found[i] for i in range(len(tasks))]
        except UsageError as error:
            if error.field != "together":
                raise
    return [found[i] if i in found else told(task.taught, resident) for i, task in enumerate(tasks)]


def told(do: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T | BoothError:
    """What it returns, or the error that is one run's own; NotAvailableError of a place is everybody's."""
    try:
        return do(*arguments, **options)
    except NotAvailableError:
        raise
    except BoothError as error:
        return error

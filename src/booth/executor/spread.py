"""Lists of jobs that do not depend on each other, handed out until each has ended."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from booth.core.cancel import CancelToken
from booth.core.errors import Cancelled
from booth.executor.job import Executor, Job, Outcome
from booth.executor.stopping import Stopping

LOSSES = 5  # how often a job may be lost with its worker before it is given up
LOOK = 0.5  # seconds between two looks whether somebody asked the work to end


def spread(
    executor: Executor, jobs: Iterable[Job], cancel: CancelToken, begin: Callable[[Job], object] = lambda job: None
) -> Iterator[Outcome]:
    """What becomes of each job, done or failed, in the order in which they end; `begin` is told when one is handed out.

    A job whose worker died, or alone was told to end, is handed out again. A signal to this process and `cancel` have
    all workers save and end; then Interrupted or Cancelled is raised.
    """
    waiting, lost = deque(jobs), Counter[str]()
    under_way, told = 0, False
    with Stopping(executor) as stopping:
        while under_way or (waiting and not (stopping.asked or cancel.cancelled)):
            while waiting and under_way < executor.workers and not (stopping.asked or cancel.cancelled):
                begin(waiting[0])
                executor.submit(waiting.popleft())
                under_way += 1
            if cancel.cancelled and not told:
                executor.stop()
                told = True
            outcome = executor.next(LOOK)
            if outcome is None:
                continue
            under_way -= 1
            if outcome.state in ("done", "failed"):
                yield outcome
            elif not (stopping.asked or cancel.cancelled):
                if not executor.apart:  # there is no other worker that could go on
                    raise Cancelled(outcome.reason)
                lost[outcome.job.key] += 1
                if lost[outcome.job.key] < LOSSES:
                    waiting.append(outcome.job)
                else:
                    reason = f"{outcome.reason} That was the {LOSSES}th time."
                    yield replace(outcome, state="failed", error="Lost", code="lost", reason=reason)
        stopping.check()
        cancel.check()

"""Workers that a verb's runs are spread over."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from booth.cli.output import say
from booth.events import Event

if TYPE_CHECKING:
    from booth.executor.job import Executor

Workers = Annotated[str, typer.Option(help="How many processes, or ray, or ray:N; 1 is this process.", metavar="N")]
Threads = Annotated[
    int | None,
    typer.Option(
        help="That each run computes with; they decide the last bits.",
        min=1,
        metavar="N",
        show_default="1 with workers, else all",
    ),
]


@contextmanager
def spread_over(workers: str, threads: int | None) -> Generator[Executor | None]:
    """The workers, until the context is left; None is this process, which then computes with so many threads."""
    from booth.core.threads import computing_with
    from booth.executor.workers import make_executor

    if workers == "1":
        with computing_with(threads):
            yield None
        return
    with make_executor(workers, threads or 1, on_event=_warn) as executor:
        yield executor


def _warn(event: Event) -> None:
    """What several runs tell at once would be a muddle; what people should know comes through."""
    if event.level in ("warning", "error") and event.text:
        say(f"warning: {event.text}")

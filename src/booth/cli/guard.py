"""What every verb has in common: errors become one message and an exit code."""

from __future__ import annotations

import errno
import functools
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.core import TyperGroup

from booth.cli.wording import worded_for, wording
from booth.core.errors import BoothError, Cancelled, DiskFullError, OutOfMemoryError, UsageError
from booth.core.places import at_home

DEBUG = "BOOTH_DEBUG"  # set to anything, an unexpected error shows its traceback and warnings are not silenced
AS_JSON = "booth.as_json"  # where typer's context holds whether --json is on the command line


def guarded(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb, which now leaves with the error's exit code, its message on stderr and, with --json, on stdout."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        if DEBUG not in os.environ:
            warnings.simplefilter("ignore")
        with worded_for(verb):
            try:
                verb(*args, **{name: _at_home(value) for name, value in kwargs.items()})
            except (Exception, KeyboardInterrupt) as error:
                if isinstance(error, OSError) and error.errno == errno.EPIPE:
                    raise
                if error.__class__.__module__.startswith("typer"):  # its own Exit and usage errors
                    raise
                value, code = explain(error)
                for problem in value.problems:
                    print(f"booth: {_worded(problem)}", file=sys.stderr)
                if kwargs.get("as_json"):
                    _tell(value, code)
                raise SystemExit(code) from error

    return run


def _at_home(value: Any) -> Any:
    """A path, or those of a list, with ~ put out: a shell does not do so in --out=~/x."""
    if isinstance(value, Path):
        return at_home(value)
    return [_at_home(each) for each in value] if isinstance(value, list) else value  # type: ignore[reportUnknownVariableType]


class GuardedGroup(TyperGroup):
    """The verbs, whose options are read before a verb runs: what is wrong with them is told with --json too."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        as_json = "--json" in args
        with _told(as_json):
            context = super().make_context(info_name, args, *rest, **extra)
        context.meta[AS_JSON] = as_json
        return context

    def invoke(self, ctx: Any) -> Any:
        with _told(ctx.meta[AS_JSON]):
            return super().invoke(ctx)


@contextmanager
def _told(as_json: bool) -> Generator[None]:
    """Within this context a usage error is an object on stdout too; typer shows it on stderr afterwards."""
    try:
        yield
    except Exception as error:
        # Known by what it has: typer brings click's class along in some versions and imports it in others.
        if as_json and hasattr(error, "format_message"):
            field = getattr(getattr(error, "param", None), "name", None)
            message, code = error.format_message(), error.exit_code  # type: ignore[attr-defined]
            _tell(UsageError(message, code="option.invalid", field=field), code)
        raise


def _worded(problem: BoothError) -> str:
    """A problem in the words of the verb, with the option at fault behind it where the words do not name it."""
    words = wording()
    text, option = words.put(str(problem)), words.option(problem.field)
    return text if option is None or option in text else f"{text} ({option})"


def _tell(error: BoothError, code: int) -> None:
    """One object on stdout: all of it in words, and the values of each problem, the first one's at the top."""
    told = [problem.to_json() | {"option": wording().option(problem.field)} for problem in error.problems]
    message = "\n".join(map(_worded, error.problems))
    print(json.dumps({"error": message, "exit_code": code, **told[0], "problems": told}), flush=True)


def explain(error: BaseException) -> tuple[BoothError, int]:
    """What to tell the user about an error, and the exit code."""
    if isinstance(error, BoothError):
        return error, error.exit_code
    if isinstance(error, Cancelled | KeyboardInterrupt):
        interrupted = BoothError(str(error) or "Interrupted.", code="interrupted")
        return interrupted, error.exit_code if isinstance(error, Cancelled) else 130
    # torch's own class is recognised by name, so that saying so does not import torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        advice = "Close what else uses it, or draw smaller (`size`)."
        return OutOfMemoryError("Out of memory.", advice, code="memory.out"), OutOfMemoryError.exit_code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "Free some space and run the command again."
        return DiskFullError(f"The disk is full: {error}.", advice, code="disk.full"), DiskFullError.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        advice = "Check that the place exists and may be written."
        return BoothError(f"{error.filename}: {error.strerror}.", advice, code="file.unusable"), 1
    if isinstance(error, OSError) and error.errno in (errno.EIO, errno.EROFS):
        advice = "What was saved before is still there; see to the disk and run the command again."
        return BoothError(f"The disk cannot be read or written: {error.strerror}.", advice, code="disk.failed"), 1
    if DEBUG in os.environ:
        traceback.print_exception(error)
    told = f"{type(error).__name__}: {error}".splitlines()[0]
    advice = f"This is a defect of booth. Please report it with the output of {DEBUG}=1."
    return BoothError(f"An unexpected error: {told}.", advice, code="defect"), 1

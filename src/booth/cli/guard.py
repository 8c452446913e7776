"""What every verb has in common: errors become one message and an exit code."""

from __future__ import annotations

import errno
import functools
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from booth.core.errors import BoothError, DiskFullError, Interrupted, OutOfMemoryError

DEBUG = "BOOTH_DEBUG"  # set to anything, an unexpected error shows its traceback and warnings are not silenced


def guarded(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb, which now leaves with the error's exit code, its message on stderr and, with --json, on stdout."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        if DEBUG not in os.environ:
            warnings.simplefilter("ignore")
        try:
            verb(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            if error.__class__.__module__.startswith("typer"):  # its own Exit and usage errors
                raise
            message, code = explain(error)
            print(f"booth: {message}", file=sys.stderr)
            if kwargs.get("as_json"):
                print(json.dumps({"error": message, "exit_code": code}))
            raise SystemExit(code) from error

    return run


def explain(error: BaseException) -> tuple[str, int]:
    """What to tell the user about an error, and the exit code."""
    if isinstance(error, BoothError | Interrupted):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted.", 130
    # torch's own class is recognised by name, so that saying so does not import torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "Out of memory. Close what else uses it, or draw smaller (--size).", OutOfMemoryError.exit_code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {error}. Free some space and run the command again.", DiskFullError.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}. Check that the place exists and may be written.", 1
    if DEBUG in os.environ:
        traceback.print_exception(error)
    told = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"An unexpected error: {told}\nThis is a defect of booth. Please report it with the output of {DEBUG}=1.", 1

"""Errors a user can act on, each with its own exit code.

Every message says what is wrong and what to do next. The command line prints the message alone and exits
with the class's code; the table in docs/reference/exit-codes.md is generated from these classes.
"""

from __future__ import annotations

import signal


class BoothError(Exception):
    """Something failed that has no more specific class below."""

    exit_code = 1
    meaning = "failed"


class UsageError(BoothError):
    """An option, a setting or a combination of them makes no sense."""

    exit_code = 2
    meaning = "wrong usage: an option or setting that makes no sense"


class BadDataError(BoothError):
    """The photos, captions or prompts given cannot be used."""

    exit_code = 65
    meaning = "bad data: a photo, caption or prompt file that cannot be used"


class UnsafeFileError(BoothError):
    """A file would run code, or its content is not what its name claims."""

    exit_code = 66
    meaning = "unsafe file: pickle, remote code, or content that is not what its name claims"


class NotAvailableError(BoothError):
    """A base, encoder or optional package is not on this machine."""

    exit_code = 69
    meaning = "not available: a base model or an optional package is missing here"


class NotFiniteError(BoothError):
    """The loss stayed infinite or NaN after every recovery, or a picture came out so."""

    exit_code = 70
    meaning = "not finite: the loss or gradient stayed infinite or NaN after two recoveries, or a picture has NaN in it"


class OutOfMemoryError(BoothError):
    """The device or the machine has too little memory."""

    exit_code = 71
    meaning = "out of memory"


class DamagedFileError(BoothError):
    """A checkpoint or concept does not match its own hashes."""

    exit_code = 72
    meaning = "damaged file: a checkpoint or concept does not match its hashes"


class DiskFullError(BoothError):
    """There is no room to write; what was there before is still there."""

    exit_code = 74
    meaning = "disk full: the last good checkpoint is kept"


class Cancelled(BaseException):
    """Somebody asked the work to end; what was done is kept. No Exception, so that no handler swallows it."""

    exit_code = 130


class Interrupted(Cancelled, KeyboardInterrupt):
    """A signal ended a run, whose checkpoint is saved."""

    abrupt = False  # whether it did not wait for the end of a step, whose weights may be half changed

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


def exit_codes() -> list[tuple[int, str]]:
    """All exit codes with their meanings, in numeric order."""
    classes: list[type[BoothError]] = [BoothError, *BoothError.__subclasses__()]
    codes = [(0, "done"), *((c.exit_code, c.meaning) for c in classes)]
    codes += [(129, "the terminal was closed (SIGHUP); the checkpoint was saved")]
    codes += [(130, "interrupted (SIGINT); the checkpoint was saved"), (143, "terminated (SIGTERM); likewise saved")]
    return sorted(codes)

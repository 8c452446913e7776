"""Errors a user can act on, as values: what is wrong, with what, and what to do next.

A front end shows them in its own words: the command line names its option for the field and exits with the class's
code, the studio marks the field. docs/reference/exit-codes.md is generated from these classes, and
docs/reference/error-codes.md from the places that raise them.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from booth.core.json_values import Json


class BoothError(Exception):
    """Something failed that has no more specific class below.

    `sentence` says what is wrong and `advice` what to do; a word in backticks is a field of a run, a setting of its
    method or an argument. `field` is the path of the one that is at fault, such as "noun" or "settings.rank", or None
    where none is. `code` is stable between versions. `problems` are all that were found together, this one alone
    where there are no more. A complaint about a file, "is empty", names no subject yet: `about` gives it one.
    """

    exit_code = 1
    meaning = "failed"
    code = "failed"

    def __init__(
        self,
        sentence: str,
        advice: str = "",
        *,
        code: str | None = None,
        field: str | None = None,
        problems: Sequence[BoothError] = (),
    ) -> None:
        super().__init__(sentence, advice)
        self.sentence, self.advice, self.field = sentence, advice, field
        self.code = code or type(self).code
        self.problems: tuple[BoothError, ...] = tuple(problems) or (self,)

    def __str__(self) -> str:
        """All of it for people."""
        if not self.advice:
            return self.sentence
        return f"{self.sentence}{' ' if self.sentence.endswith(('.', '?', '!')) else '; '}{self.advice}"

    def about(self, subject: str, more: str = "", *, field: str | None = None) -> BoothError:
        """A complaint as a sentence on its subject: "is empty; copy it" becomes "cat.jpg is empty. Copy it."."""
        advice = capitalised(self.advice).removesuffix(".") + "." if self.advice else ""
        return _class_of(self)(
            f"{subject} {self.sentence.removesuffix('.')}.",
            " ".join(filter(None, (advice, more))),
            code=self.code,
            field=field or self.field,
        )

    def to_json(self) -> dict[str, Json]:
        """The four values, as plain ones."""
        return {"field": self.field, "code": self.code, "sentence": self.sentence, "advice": self.advice}


def capitalised(text: str) -> str:
    """The text as a sentence begins."""
    return f"{text[:1].upper()}{text[1:]}"


class Problems(list[BoothError]):
    """What is wrong with one thing, gathered so that all of it is told at once."""

    @contextmanager
    def noted(self, field: str | None = None) -> Generator[None]:
        """Within this context an error is gathered; `field` is at fault where the error names none."""
        try:
            yield
        except BoothError as error:
            for problem in error.problems:
                problem.field = problem.field or field
                self.append(problem)

    def of(self, field: str) -> list[BoothError]:
        """Those that a field is at fault for."""
        return [problem for problem in self if problem.field == field]

    def tell(self) -> None:
        """Raise one error for all of them, if there are any."""
        if self:
            raise together(self)


def together(problems: Sequence[BoothError]) -> BoothError:
    """One error that tells all of these, of the class of the first; there has to be one."""
    first = problems[0]
    if len(problems) == 1:
        return first
    told = "\n".join(str(problem) for problem in problems)
    return _class_of(first)(told, code=first.code, field=first.field, problems=problems)


def _class_of(error: BoothError) -> type[BoothError]:
    """The class of this module that an error is of: one with arguments of its own is a kind of such."""
    return next(kind for kind in type(error).__mro__ if kind.__module__ == __name__)


class UsageError(BoothError):
    """An option, a setting or a combination of them makes no sense."""

    exit_code = 2
    meaning = "wrong usage: an option or setting that makes no sense"
    code = "usage"


class BadDataError(BoothError):
    """The photos, captions or prompts given cannot be used."""

    exit_code = 65
    meaning = "bad data: a photo, caption or prompt file that cannot be used"
    code = "data"


class UnsafeFileError(BoothError):
    """A file would run code, or its content is not what its name claims."""

    exit_code = 66
    meaning = "unsafe file: pickle, remote code, or content that is not what its name claims"
    code = "unsafe"


class NotAvailableError(BoothError):
    """A base, encoder or optional package is not on this machine."""

    exit_code = 69
    meaning = "not available: a base model or an optional package is missing here"
    code = "not_available"


class NotFiniteError(BoothError):
    """The loss stayed infinite or NaN after every recovery, or a picture came out so."""

    exit_code = 70
    meaning = "not finite: the loss or gradient stayed infinite or NaN after two recoveries, or a picture has NaN in it"
    code = "not_finite"


class OutOfMemoryError(BoothError):
    """The device or the machine has too little memory."""

    exit_code = 71
    meaning = "out of memory"
    code = "out_of_memory"


class DamagedFileError(BoothError):
    """A checkpoint or concept does not match its own hashes."""

    exit_code = 72
    meaning = "damaged file: a checkpoint or concept does not match its hashes"
    code = "damaged"


class DiskFullError(BoothError):
    """There is no room to write; what was there before is still there."""

    exit_code = 74
    meaning = "disk full: the last good checkpoint is kept"
    code = "disk_full"


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
